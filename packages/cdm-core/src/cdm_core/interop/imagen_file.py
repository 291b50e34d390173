"""Reading `.pt` files of imagen-pytorch without executing anything in them."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdm_core.errors import CheckpointError
from cdm_core.networks.weights import WRAPPERS, plain_tensors
from run_folder import file_sha256

NULL_TENSOR = "dummy_parameter"
"""The only tensor of a `NullUnet`, a placeholder for a missing U-Net."""

U_NET_TENSOR = re.compile(r"unets\.([0-9]{1,3})\.(.+)", re.DOTALL)
MEAN_TENSOR = re.compile(r"([0-9]{1,3})\.ema_model\.(.+)", re.DOTALL)

Unets = dict[int, dict[str, Tensor]]


@dataclass(frozen=True)
class ImagenFile:
    """The U-Nets of a file, by number from 1, each with its tensors by name.

    Args:
        path: The file.
        sha256: Of the file.
        trained: Weights as trained.
        means: Their running means, if a trainer wrote the file.
        version: Of imagen-pytorch, likewise.
        steps: For which each was trained, likewise.
        prefix: Prefix removed from the tensors' names, of a compiled or data-parallel network; '' for none.
    """

    path: Path
    sha256: str
    trained: Unets
    means: Unets = field(default_factory=dict)
    version: str | None = None
    steps: Tensor | None = None
    prefix: str = ""

    @property
    def count(self) -> int:
        """Number of U-Nets, with placeholders."""
        return len(self.trained)

    @property
    def real(self) -> list[int]:
        """Numbers of the U-Nets that are no placeholders."""
        return [number for number, tensors in sorted(self.trained.items()) if tensors.keys() != {NULL_TENSOR}]

    def tensors(self, number: int, *, means: bool) -> dict[str, Tensor]:
        """Returns the weights of a U-Net or their running means.

        Raises:
            CheckpointError: The file does not have them, or they are no plain numbers.
        """
        if number not in self.real:
            raise CheckpointError(f"{self.path}: has no U-Net {number}")
        if means and number not in self.means:
            raise CheckpointError(f"{self.path}: has no running means (EMA) of U-Net {number}; ask for its raw weights")
        tensors = (self.means if means else self.trained)[number]
        for name, value in tensors.items():
            if not _is_plain(value) or not value.is_floating_point():
                raise CheckpointError(f"{self.path}: U-Net {number}: tensor {name!r} is not one of plain numbers")
        return tensors

    def origin(self, number: int) -> dict[str, str | int]:
        """Returns the provenance of a U-Net, as far as the file has it."""
        values: dict[str, str | int] = {"file": self.path.name, "sha256": self.sha256, "unet": number}
        if self.version is not None:
            values["version"] = self.version
        if self.steps is not None and self.steps.numel() >= number:
            values["steps"] = int(self.steps.flatten()[number - 1])
        return values


def read_imagen_file(path: Path) -> ImagenFile:
    """Reads a file of `ImagenTrainer.save`, or the weights of an `Imagen` or a `Unet`.

    Tensors that are not used later, such as optimisers', take no memory.

    Raises:
        CheckpointError: It is missing, damaged, or holds other things; one line.
    """
    values, sha256 = _load(path), file_sha256(path)
    if "model" in values:
        version, steps, model = values.get("version"), values.get("steps"), values["model"]
        return ImagenFile(
            path,
            sha256,
            _grouped(path, model, U_NET_TENSOR, "'model'"),
            _grouped(path, values["ema"], MEAN_TENSOR, "'ema'", others=True) if "ema" in values else {},
            version if isinstance(version, str) else None,
            steps if isinstance(steps, Tensor) and _is_plain(steps) and steps.dtype == torch.int64 else None,
            _prefix(model),
        )
    values = values.get("state_dict", values)  # of `Unet.persist_to_file`
    tensors = plain_tensors(_tensors(path, values, "the file"), str(path))
    if any(U_NET_TENSOR.fullmatch(name) for name in tensors):
        unets = _grouped(path, tensors, U_NET_TENSOR, "the file")
    else:
        unets = {1: tensors}
    return ImagenFile(path, sha256, unets, prefix=_prefix(values))


def _prefix(names: Iterable[str]) -> str:
    """Returns the prefix that a compiled or data-parallel network has put before the names of its tensors."""
    return "".join(f"{part}." for part in WRAPPERS if any(part in name.split(".") for name in names))


def _load(path: Path) -> dict[str, Any]:
    """Loads tensors and plain values; tensors of today's format stay on disk until they are used."""
    try:
        archive = zipfile.is_zipfile(path)
        if archive and (damaged := _damaged_part(path)) is not None:
            raise CheckpointError(f"{path}: damaged, the checksum of {damaged!r} is wrong; fetch it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are no checkpoints, which are refused below
            values: object = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except CheckpointError:
        raise
    except Exception as error:  # torch and zipfile raise a dozen kinds for a damaged file
        text = " ".join(str(error).split())
        if isinstance(error, pickle.UnpicklingError) and (named := re.search(r"GLOBAL ([\w.]+)", text)):
            has = f"has {named[1]} beside tensors and plain values, which could run code"
            raise CheckpointError(f"{path}: not opened, it {has}; save its state_dict() only") from None
        reason = f"{type(error).__name__}: {text[:60]}"
        raise CheckpointError(f"{path}: not a whole checkpoint ({reason}); fetch it again") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise CheckpointError(f"{path}: not a checkpoint of imagen-pytorch")
    return values


def _damaged_part(path: Path) -> str | None:
    """Returns the first part of an archive whose checksum is wrong, which torch does not look at."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and value.device.type == "cpu"


def _tensors(path: Path, values: object, where: str) -> dict[str, Tensor]:
    if not isinstance(values, Mapping) or not values:
        raise CheckpointError(f"{path}: not a checkpoint of imagen-pytorch, {where} has no tensors by name")
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: not a checkpoint of imagen-pytorch, {name!r} in {where} is not a tensor")
    return dict(values)


def _grouped(path: Path, values: object, pattern: re.Pattern[str], where: str, others: bool = False) -> Unets:
    """Sorts tensors by the number of their U-Net; `others` allows names that are not of the pattern."""
    unets: Unets = {}
    for name, value in plain_tensors(_tensors(path, values, where), str(path)).items():
        if match := pattern.fullmatch(name):
            unets.setdefault(int(match[1]) + 1, {})[match[2]] = value
        elif not others:
            raise CheckpointError(f"{path}: tensor {name!r} in {where} does not belong to any U-Net")
    return unets
