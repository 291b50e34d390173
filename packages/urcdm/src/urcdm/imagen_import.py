"""A model from checkpoints of imagen-pytorch, such as the study's nine, one network in memory at a time."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from cdm_core import CheckpointError
from cdm_core.interop.imagen_checkpoint import Weights, import_imagen_checkpoint
from cdm_core.model_folder import MODEL_FILE, read_model_file
from run_folder import FolderLock
from urcdm.config import TrainingPlan
from urcdm.model import write_settings


def import_imagen(
    plan: TrainingPlan,
    files: Mapping[str, Sequence[Path]],
    folder: Path,
    *,
    weights: Weights = "ema",
    dtype: torch.dtype = torch.float32,
    provenance: Mapping[str, str | int | float] | None = None,
    overwrite: bool = False,
) -> Iterator[str]:
    """Writes a model folder from `.pt` files that imagen-pytorch wrote; nothing in them is executed.

    Args:
        plan: The levels and their networks, which the files do not state.
        files: For each level, by name: one file with all its networks, or one for each, in order. Levels that share
            their networks are one, named 'shared'.
        folder: The model; it appears when it is whole.
        weights: 'ema' takes the running means, which the study samples with, 'raw' what was trained last.
        dtype: In which precision the weights are stored.
        provenance: More of the model's provenance. A line for each network is added: its file and SHA-256,
            and its version and steps where the file states them.
        overwrite: Replace a model that is there.

    Yields:
        The name of each network, when it is written.

    Raises:
        CheckpointError: A file is missing, damaged, of another family of imagen-pytorch than the one installed, or has
            no weights that are exactly the network's; or the folder to replace holds other things than a model.
        FileExistsError: The folder is there.
        LockedError: Another process writes the model.
        ValueError: Other levels than the plan's, or not as many files as networks.
    """
    config = plan.urcdm
    levels = {config.cascade_name(i): i for i in range(len(config.levels))}
    if levels.keys() != files.keys():
        raise ValueError(f"wanted files for the levels {', '.join(levels)}, got {', '.join(files) or 'none'}")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists")
    origins = dict(provenance or {})
    with (
        FolderLock(folder, beside=True),
        tempfile.TemporaryDirectory(prefix=".import-", dir=folder.parent) as temporary,
    ):
        if folder.exists():
            _check_only_a_model(folder)
        model = Path(temporary, "model")
        model.mkdir()
        for name, level in levels.items():
            written = import_imagen_checkpoint(
                files[name], plan.cascade(level), model / name, weights=weights, dtype=dtype
            )
            try:
                for origin, network in zip(written, plan.of_level(level), strict=True):
                    origins[network.name] = _line(origin)
                    yield network.name
            except CheckpointError as error:
                raise CheckpointError(f"level '{name}': {error}") from None
        write_settings(model, config, origins)
        if folder.exists():
            _check_only_a_model(folder)  # the import took its time
            folder.rename(Path(temporary, "replaced"))
        model.rename(folder)


def _check_only_a_model(folder: Path) -> None:
    """Raises CheckpointError unless a folder holds a model of this package and nothing else."""
    values = read_model_file(folder, kind="urcdm")
    names = {"shared", *(level["name"] for level in values.get("levels", ()))}
    levels = [path for path in folder.iterdir() if path.name in names and (path / MODEL_FILE).exists()]
    of_model = {folder / MODEL_FILE, *levels}
    for level in levels:
        of_model |= {level / MODEL_FILE, *level.glob("*.safetensors")}
    for path in folder.rglob("*"):
        if path not in of_model:
            raise CheckpointError(f"{path} is not part of a model; move it away, or choose another folder")


def _line(origin: Mapping[str, str | int]) -> str:
    """The origin of a network, in one line."""
    parts = [str(origin["file"]), f"U-Net {origin['unet']}"]
    if "steps" in origin:
        parts.append(f"{origin['steps']} steps")
    if "version" in origin:
        parts.append(f"imagen-pytorch {origin['version']}")
    return ", ".join([*parts, f"SHA-256 {origin['sha256']}"])
