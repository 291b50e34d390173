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
    """Writes a model folder from `.pt` files of imagen-pytorch; nothing in the files is executed.

    Args:
        plan: The levels and their networks, which the files do not state.
        files: For each level, by name: one file with all its networks, or one for each, in order. Levels that share
            their networks are one, named 'shared'.
        folder: Folder of the model, which appears once it is complete.
        weights: 'ema' for the running means, which the study samples with; 'raw' for the weights of the last step.
        dtype: Precision of the stored weights.
        provenance: More of the model's provenance. A line for each network is added: its file and SHA-256,
            and its version and steps where the file states them.
        overwrite: Replace an existing model.

    Yields:
        The name of each network, when it is written.

    Raises:
        CheckpointError: A file is missing, damaged, of another family of imagen-pytorch than the one installed, or has
            no weights that fit the network exactly; or the folder to replace holds other things than a model.
        FileExistsError: The folder exists.
        LockedError: Another process writes the model.
        ValueError: The levels are not those of the plan, or the numbers of files and networks differ.
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
            _check_only_a_model(folder)  # the import has taken minutes
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
