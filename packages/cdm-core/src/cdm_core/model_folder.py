"""Models on disk: a folder with `model.toml` and one safetensors file a network. Never a pickle."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cdm_core.errors import CheckpointError
from cdm_core.networks.weights import check_weights_finite, fill_unet, plain_tensors
from run_folder import first_line, is_disk_full, whole_file

FORMAT = 1
MODEL_FILE = "model.toml"


def open_model_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Makes a folder ready for the files of a model; `write_model_file`, at the end, makes it one.

    With `overwrite`, the `model.toml` of the model in it is removed first, so that old and new files never pass for one
    model where the writing is interrupted.

    Args:
        folder: The folder; made if missing.
        overwrite: Replace a model that is there.

    Raises:
        CheckpointError: It holds a model that is not to be overwritten, or cannot be made.
    """
    check_no_model(folder, overwrite=overwrite)
    with checkpoint_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).unlink(missing_ok=True)


def check_no_model(folder: Path, *, overwrite: bool) -> None:
    """Checks that no model would be overwritten unasked.

    Raises:
        CheckpointError: The folder holds one.
    """
    if not overwrite and (folder / MODEL_FILE).exists():
        raise CheckpointError(f"{folder}: holds a model; pass overwrite=True to replace it, or use another folder")


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turns errors of the file system in the block into a `CheckpointError` of one line.

    Raises:
        CheckpointError: Something cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        advice = "free some space" if is_disk_full(error) or "os error 28" in str(error) else "use another folder"
        raise CheckpointError(f"{path}: cannot be written ({reason}); {advice}") from None


def save_weights(tensors: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype) -> None:
    """Writes a network's weights, by name, as safetensors; the file appears when it is whole.

    Args:
        tensors: The weights. Prefixes of a wrapped network's names are left out.
        path: The file.
        dtype: In which precision they are stored.

    Raises:
        CheckpointError: A weight is not finite, or not in that precision; or the file cannot be written.
    """
    with checkpoint_errors(path), whole_file(path) as temporary:
        write_weights(tensors, temporary, dtype=dtype, source=str(path))


def write_weights(tensors: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype, source: str) -> None:
    """Writes a network's weights as `save_weights` does, straight to a path.

    Args:
        tensors: The weights.
        path: The file, usually a temporary one.
        dtype: In which precision they are stored.
        source: Name of the file in errors.

    Raises:
        CheckpointError: A weight is not finite, or not in that precision.
        OSError, SafetensorError: The file cannot be written.
    """
    plain = {
        name: value.detach().to("cpu", dtype).contiguous() for name, value in plain_tensors(tensors, source).items()
    }
    check_weights_finite(plain, source)
    save_file(plain, path)
    path.chmod(0o644)  # safetensors makes files that only their owner can read; models are shared


def load_weights(unet: nn.Module, path: Path) -> None:
    """Loads a safetensors file into a network, strictly.

    Raises:
        CheckpointError: The file is missing or damaged, or a tensor is missing, surplus, of another shape or not
            finite, or they are of another family of imagen-pytorch's networks.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: weights not found; the model folder is not complete") from None
    except (SafetensorError, OSError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{path}: not a whole safetensors file ({reason}); fetch or train it again") from None
    fill_unet(unet, tensors, str(path))


def read_model_file(folder: Path, *, kind: str) -> dict[str, Any]:
    """Reads `model.toml` of a folder, checks its format and kind, and returns the rest.

    Raises:
        CheckpointError: No such file, not TOML, or of another format or kind.
    """
    path = folder / MODEL_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: not a model folder, it has no {MODEL_FILE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: not of format {FORMAT}; it was written by another version")
    written = values.pop("kind", None)
    if written != kind:
        raise CheckpointError(f"{path}: holds a model of kind '{written}', wanted '{kind}'")
    return values


def write_model_file(folder: Path, *, kind: str, values: Mapping[str, Any]) -> None:
    """Writes `model.toml` into a folder; the file appears when it is whole.

    Raises:
        CheckpointError: It cannot be written.
    """
    with checkpoint_errors(folder / MODEL_FILE), whole_file(folder / MODEL_FILE) as temporary:
        temporary.write_text(tomli_w.dumps({"format": FORMAT, "kind": kind, **values}), encoding="utf-8")
