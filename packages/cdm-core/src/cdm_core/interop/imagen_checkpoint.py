"""Models trained with imagen-pytorch itself, such as the study's: its `.pt` files read, and written.

`ImagenTrainer.save` writes a dictionary: `model` has the U-Nets (`unets.0.init_conv.weight`, ...), `ema` their running
means (`0.ema_model.init_conv.weight`, ...), and there are steps, the library's version and optimisers. Who trains one
U-Net at a time has a file for each, in which the others are `NullUnet`s, of one tensor.
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cdm_core.cascade import Cascade, write_cascade
from cdm_core.config import CascadeConfig, StageConfig
from cdm_core.errors import CheckpointError
from cdm_core.interop.imagen_file import NULL_TENSOR, ImagenFile, read_imagen_file
from cdm_core.networks.family import family_of_version, installed_version, require_family
from cdm_core.networks.weights import check_tensors, plain_name
from cdm_core.stages.build import build_unet
from run_folder import first_line, whole_file

Weights = Literal["ema", "raw"]


@dataclass(frozen=True)
class _Found:
    """The weights of a stage in a file."""

    stage: StageConfig
    file: ImagenFile
    number: int
    weights: Weights

    def tensors(self, unet: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
        """Reads them, in that precision, for a network of the stage, which may be on the meta device."""
        source = (
            f"{self.file.path}: U-Net {self.number} ({self.weights} weights) as the one of {self.stage.image_px} px"
        )
        source += f", with {self.file.prefix!r} taken off the names" if self.file.prefix else ""
        tensors = self.file.tensors(self.number, means=self.weights == "ema")
        # what the tensors are is the better answer, so the version comes second
        tensors = check_tensors(unet, tensors, source)
        if self.file.version is not None and (family := family_of_version(self.file.version)) is not None:
            require_family(family, str(self.file.path))
        tensors = {name: value.to(dtype) for name, value in tensors.items()}
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                precision = "" if dtype == torch.float32 else f" in {str(dtype).removeprefix('torch.')}"
                raise CheckpointError(f"{source}: tensor {name!r} has values that are not finite{precision}")
        return tensors


def load_imagen_checkpoint(
    paths: Path | Sequence[Path],
    config: CascadeConfig,
    *,
    weights: Weights = "ema",
    numbers: Sequence[int] | None = None,
) -> Cascade:
    """Makes a cascade from files that imagen-pytorch wrote; nothing in them is executed.

    A file is one of `ImagenTrainer.save`, the `state_dict()` of an `Imagen` or of a `Unet`, or of
    `Unet.persist_to_file`.

    Args:
        paths: One file for all stages, or one for each.
        config: The stages, which the files do not describe.
        weights: 'ema' takes the running means, which the study samples with, 'raw' what was trained last. Only trainers
            save means.
        numbers: Which U-Net of its file each stage is, from 1. If not given: of one file all that are not `NullUnet`s;
            of a file for each stage the only one that is none, else the one of the stage's own number.

    Returns:
        The cascade, in float32 on the CPU. Its provenance has, for each stage, the file's name, SHA-256, version and
        steps where the file has them, and which U-Net of the file it is.

    Raises:
        CheckpointError: A file is missing, damaged, holds more than tensors and plain values, is of another family of
            imagen-pytorch than the one installed, or has no weights that are exactly the network's.
        ValueError: Not as many files or numbers as stages, or other weights than those.
    """
    found = _found(paths, config, weights, numbers)
    unets = []
    for each in found:
        unet = build_unet(each.stage)
        unet.load_state_dict(each.tensors(unet, torch.float32))
        unets.append(unet)
    return Cascade(config, unets, _provenance(found))


def import_imagen_checkpoint(
    paths: Path | Sequence[Path],
    config: CascadeConfig,
    folder: Path,
    *,
    weights: Weights = "ema",
    numbers: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
) -> Iterator[dict[str, str | int]]:
    """Writes the folder of a cascade from files that imagen-pytorch wrote, with one network in memory at a time.

    It is the folder that `Cascade.save` writes of what `load_imagen_checkpoint` makes.

    Args:
        paths: As there, as are `config`, `weights` and `numbers`.
        config: The stages.
        folder: The folder to write; made if missing. It is a model when the iterator has ended.
        weights: 'ema' or 'raw'.
        numbers: Which U-Net of its file each stage is.
        dtype: Precision of the stored weights.
        overwrite: Replace an existing model.

    Yields:
        For each stage, when it is written, where its weights come from: 'file', 'sha256', 'unet', and 'version' and
        'steps' where the file has them.

    Raises:
        CheckpointError: As there, or the weights are too large for `dtype`, or the folder holds a model that is not to
            be overwritten.
        ValueError: As there.
    """
    found = _found(paths, config, weights, numbers)
    tensors = (each.tensors(_shapes(each.stage), dtype) for each in found)
    written = write_cascade(folder, config, tensors, _provenance(found), dtype=dtype, overwrite=overwrite)
    for _, each in zip(written, found, strict=True):
        yield each.file.origin(each.number)


def save_imagen_checkpoint(cascade: Cascade, path: Path, *, overwrite: bool = False) -> None:
    """Writes a cascade as `ImagenTrainer.save` would, for `ImagenTrainer.load` or `Imagen.load_state_dict`.

    The weights are both the trained ones and their running means; there are no optimisers. The steps are those of the
    provenance of `load_imagen_checkpoint`, else 0. A cascade whose first stage enlarges gets a `NullUnet` before it, as
    an `Imagen` of such stages has.

    Args:
        cascade: What to write.
        path: The file to write; it appears when it is complete.
        overwrite: Replace a file that is there.

    Raises:
        CheckpointError: There is a file that is not to be overwritten, or it cannot be written.
    """
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path}: exists; pass overwrite=True to replace it, or use another name")
    tensors = [
        {plain_name(name): value.detach().cpu().contiguous() for name, value in u.state_dict().items()}
        for u in cascade.unets
    ]
    trained = [cascade.provenance.get(f"stage_{i + 1}_steps") for i in range(len(tensors))]
    steps = [count if isinstance(count, int) else 0 for count in trained]
    if cascade.config.stages[0].lowres_px is not None:
        tensors, steps = [{NULL_TENSOR: torch.zeros(1)}, *tensors], [0, *steps]
    # as the installed version has them, of which the oldest have other shapes
    counters = importlib.import_module("ema_pytorch").EMA(nn.LayerNorm(1)).state_dict()
    ema: dict[str, torch.Tensor] = {}
    for i, (unet, count) in enumerate(zip(tensors, steps, strict=True)):
        ema |= {f"{i}.{name}": torch.full_like(counters[name], n) for name, n in (("initted", True), ("step", count))}
        ema |= {f"{i}.{part}.{name}": value for part in ("online_model", "ema_model") for name, value in unet.items()}
    values = {
        "model": {f"unets.{i}.{name}": value for i, unet in enumerate(tensors) for name, value in unet.items()},
        "version": installed_version(),
        "steps": torch.tensor(steps),
        "ema": ema,
    }
    try:
        with whole_file(path) as temporary:
            torch.save(values, temporary)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot be written ({first_line(error)})") from None


def _found(
    paths: Path | Sequence[Path], config: CascadeConfig, weights: Weights, numbers: Sequence[int] | None
) -> list[_Found]:
    """Opens the files and finds the weights of each stage, which stay on disk."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights are 'ema' or 'raw', got {weights!r}")
    stages = config.stages
    each = [Path(paths)] * len(stages) if isinstance(paths, str | Path) else [Path(path) for path in paths]
    each = each * len(stages) if len(each) == 1 else each
    if len(each) != len(stages):
        raise ValueError(f"wanted one file, or one for each of {len(stages)} stages, got {len(each)}")
    if numbers is not None and len(numbers) != len(stages):
        raise ValueError(f"wanted the number of a U-Net for each of {len(stages)} stages, got {len(numbers)}")
    opened = {path: read_imagen_file(path) for path in each}
    files = [opened[path] for path in each]
    chosen = numbers if numbers is not None else _numbers(files)
    return [_Found(*of_stage, weights) for of_stage in zip(stages, files, chosen, strict=True)]


def _provenance(found: Sequence[_Found]) -> dict[str, str | int | float]:
    values: dict[str, str | int | float] = {"imported_from": "imagen-pytorch", "weights": found[0].weights}
    for i, each in enumerate(found, start=1):
        values |= {f"stage_{i}_{name}": value for name, value in each.file.origin(each.number).items()}
    return values


def _shapes(stage: StageConfig) -> nn.Module:
    """The network of a stage without memory for its weights."""
    with torch.device("meta"):
        return build_unet(stage)


def _numbers(files: Sequence[ImagenFile]) -> list[int]:
    """Finds the U-Net of each stage, from 1, in its file."""
    if all(file is files[0] for file in files):
        found = files[0].real
        if len(found) != len(files):
            held = ", ".join(map(str, found)) or "none"
            raise CheckpointError(
                f"{files[0].path}: has U-Nets {held}, wanted {len(files)}: give a file for each stage, or `numbers`"
            )
        return found
    numbers: list[int] = []
    for i, file in enumerate(files, start=1):
        if len(file.real) != 1 and i not in file.real:
            held = ", ".join(map(str, file.real)) or "none"
            raise CheckpointError(f"{file.path}: has U-Nets {held}: say with `numbers` which is stage {i}")
        number = file.real[0] if len(file.real) == 1 else i
        before = files[i - 2]
        if i > 1 and number <= numbers[-1] and min(file.count, before.count) > 1:
            raise CheckpointError(
                f"{file.path}: has U-Net {number}, {before.path} before it U-Net {numbers[-1]}; give the files in the "
                "order of the stages"
            )
        numbers.append(number)
    return numbers
