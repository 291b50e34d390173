"""The record of a model's folder: `model.toml`, written before training begins."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from cdm_core.config_file import dump_config, parse_config
from cdm_core.errors import ConfigError
from maskcond.masks.classes import ClassSet
from maskcond.segmentation.errors import SegmentationError
from run_folder import whole_file

MODEL_FILE = "model.toml"
WEIGHTS_FILE = "network.safetensors"
"""Weights of the trained model; the file exists only once the training is complete."""


@dataclass(frozen=True)
class ModelRecord:
    """The settings and inputs of a model's training; equal records give equal models.

    Args:
        kind: Kind of model.
        classes: Classes of the labels.
        settings: Settings of network and training, as plain values.
        seed: Seed of the training.
        pairs: Number of training pairs.
        pairs_sha256: Digest of the training pairs, see `check_pairs`.
        start_sha256: Digest of the initial weights; empty for fresh weights.
        plans_sha256: Digest of the given plans; empty if none were given.
        batch_seeds: For nnU-Net, what the random numbers of a batch depend on besides the seed: its 'number', or None
            for the batches sampled before it, as in earlier versions.
    """

    kind: str
    classes: ClassSet
    settings: dict[str, Any]
    seed: int
    pairs: int
    pairs_sha256: str
    start_sha256: str = ""
    plans_sha256: str = ""
    batch_seeds: Literal["number"] | None = None


def claim_folder(folder: Path, record: ModelRecord, settings: type[Any]) -> None:
    """Writes a record into a new folder, or checks that an existing record is the same, so that training can continue.

    Args:
        folder: Folder of the model.
        record: The record.
        settings: Dataclass of its settings.

    Raises:
        SegmentationError: The folder has another record, or files but no record.
    """
    if (folder / MODEL_FILE).exists():
        saved, wanted = dump_config(read_record(folder, record.kind, settings)), dump_config(record)
        for key, value in wanted.items():
            if saved[key] != value:
                changed = _difference(saved[key], value, key)
                raise SegmentationError(
                    f"{folder} has a model that was trained differently ({changed}); take another folder"
                )
        return
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise SegmentationError(f"{folder} is not empty, and has no {MODEL_FILE}; take another folder")
    with whole_file(folder / MODEL_FILE) as partial:
        partial.write_text(tomli_w.dumps(dump_config(record)), encoding="utf-8")


def read_record(folder: Path, kind: str, settings: type[Any]) -> ModelRecord:
    """Reads the record of a model of a kind; settings that an earlier version lacked get their defaults.

    Args:
        folder: Folder of the model.
        kind: Kind of the model.
        settings: Dataclass of its settings.

    Raises:
        SegmentationError: The record is missing, cannot be read, or is of another kind.
    """
    path = folder / MODEL_FILE
    try:
        record = parse_config(ModelRecord, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise SegmentationError(f"{folder}: no segmentation model, it has no {MODEL_FILE}") from None
    except (ConfigError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SegmentationError(f"{path}: cannot be read ({error})") from None
    if record.kind != kind:
        raise SegmentationError(f"{folder} has a model of kind '{record.kind}', wanted '{kind}'")
    return replace(record, settings=dump_config(parse_config(settings, record.settings, str(path))))


def check_start(folder: Path, kind: str, classes: ClassSet, settings: Any, same: tuple[str, ...]) -> Path:
    """Checks another model to start from, and returns the path of its weights.

    Args:
        folder: Folder of the model to start from.
        kind: Kind of the new model.
        classes: Classes of the new model.
        settings: Settings of the new model, a dataclass.
        same: Names of the settings in which the two models have to agree.

    Raises:
        SegmentationError: The folder has no trained model, or one of another kind, other classes or another network.
    """
    record, wanted = read_record(folder, kind, type(settings)), dump_config(settings)
    if not (folder / WEIGHTS_FILE).exists():
        raise SegmentationError(f"{folder}: the model to start from is not trained to its end")
    if record.classes != classes:
        raise SegmentationError(
            f"{folder}: the model to start from knows {', '.join(record.classes.names)}, "
            f"wanted {', '.join(classes.names)}"
        )
    for key in same:
        if record.settings.get(key) != wanted.get(key):
            raise SegmentationError(
                f"{folder}: the model to start from has {key} {record.settings.get(key)}, wanted {wanted.get(key)}"
            )
    return folder / WEIGHTS_FILE


def _difference(saved: Any, wanted: Any, name: str) -> str:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for key in saved.keys() | wanted.keys():
            if saved.get(key) != wanted.get(key):
                return _difference(saved.get(key), wanted.get(key), f"{name}.{key}")
    return f"{name} was {saved}, now {wanted}"
