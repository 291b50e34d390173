"""Models on disk: a folder with `model.toml` and one safetensors file a network. Never a pickle."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cdm_core.errors import CheckpointError
from cdm_core.network import fill_unet

FORMAT = 1
MODEL_FILE = "model.toml"


def save_weights(tensors: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype) -> None:
    """Writes a network's weights, by name, as safetensors, under a temporary name until they are whole."""
    plain = {name: value.detach().to("cpu", dtype).contiguous() for name, value in tensors.items()}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(plain, temporary)
    temporary.chmod(0o644)  # safetensors makes files that only their owner can read; models are shared
    temporary.replace(path)


def load_weights(unet: nn.Module, path: Path) -> None:
    """Loads a safetensors file into a network, strictly.

    Raises:
        CheckpointError: The file is missing or damaged, or a tensor is missing, surplus or of another shape, or they
            are of another family of imagen-pytorch's networks.
    """
    try:
        found = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: weights not found; the model folder is not complete") from None
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: not a whole safetensors file ({reason}); fetch or train it again") from None
    fill_unet(unet, found, str(path))


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
    found = values.pop("kind", None)
    if found != kind:
        raise CheckpointError(f"{path}: holds a model of kind '{found}', wanted '{kind}'")
    return values


def write_model_file(folder: Path, *, kind: str, values: Mapping[str, Any]) -> None:
    """Writes `model.toml` into a folder, under a temporary name until it is whole."""
    temporary = folder / f".{MODEL_FILE}.tmp"
    temporary.write_text(tomli_w.dumps({"format": FORMAT, "kind": kind, **values}), encoding="utf-8")
    temporary.replace(folder / MODEL_FILE)
