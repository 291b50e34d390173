"""Features of the crops of a plan: worked out once, kept on disk, used for every figure."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pfid.crop_reading import read_crops
from pfid.crops import SIDES, CropPlan, Side
from pfid.errors import FeatureError
from pfid.extractors import Extractor
from pfid.images import Images

_PLAN = "plan.npz"
_TOLD = "features.json"
_BEGUN = "begun.json"
_MEASURED = "measured.npy"


@dataclass(frozen=True)
class Progress:
    """How far some long work has come.

    Attributes:
        work: What is done: 'real crops', 'fake crops' or 'resamples'.
        done: How many of them are done.
        total: How many there are.
    """

    work: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class CropFeatures:
    """Features of both sides' crops, in the order of the plan. Row i of one side belongs to row i of the other.

    Attributes:
        plan: Which crops they are of.
        real, fake: One row a crop, (N, D) float32; on disk, read when needed.
        white: Which crops are white by the plan's rule, real and fake, (2, N).
        extractor: Name of the extractor.
        resize: How crops were read, and resized for it.
        notes: What is worth knowing of the images, a line each.
        FILES: All files that `measure_crops` makes in its folder, the last two until it is done.
    """

    FILES: ClassVar[tuple[str, ...]] = (
        _PLAN,
        _TOLD,
        *(f"{side}.npy" for side in SIDES),
        "white.npy",
        _BEGUN,
        _MEASURED,
    )

    plan: CropPlan
    real: NDArray[np.float32]
    fake: NDArray[np.float32]
    white: NDArray[np.bool_]
    extractor: str
    resize: str
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> NDArray[np.int64]:
        """Numbers of the pairs of which no crop is white, (M,)."""
        return np.flatnonzero(~self.white.any(axis=0))

    @classmethod
    def load(cls, folder: str | Path) -> "CropFeatures":
        """Reads the features that `measure_crops` left in a folder.

        Raises:
            FeatureError: There are none, or they are not complete or not of the plan beside them.
            PlanError: The plan beside them is damaged.
        """
        folder = Path(folder)
        try:
            told = json.loads((folder / _TOLD).read_text(encoding="utf-8"))
            plan = CropPlan.load(folder / _PLAN)
            real, fake, white = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in (*SIDES, "white"))
            found = cls(plan, real, fake, white, told["extractor"], told["resize"], tuple(told["notes"]))
            of_plan = told["plan_sha256"] == plan.sha256 and len(real) == len(fake) == white.shape[1] == len(plan)
        except OSError as error:
            raise FeatureError(f"{folder}: no complete features of crops: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise FeatureError(f"{folder}: the features of crops are damaged: {error}") from None
        if not of_plan:
            raise FeatureError(f"{folder}: the features are not those of the plan beside them")
        return found


def measure_crops(
    *,
    real: Images,
    fake: Images,
    plan: CropPlan,
    extractor: Extractor,
    folder: str | Path,
    batch_size: int = 64,
    workers: int = 2,
) -> Iterator[Progress | CropFeatures]:
    """Reads all crops and works out their features; yields how far it is, and at last the features.

    Crops are read in worker processes while the extractor works. Features go to disk as they come: memory does not grow
    with the number of crops, and what an interrupted call has left in the folder is not measured again.

    Args:
        real: The real images of the plan.
        fake: The generated ones.
        plan: Which crops to measure.
        extractor: What gives features of patches.
        folder: Where the features are kept; made if it is not there.
        batch_size: Crops to give the extractor at a time.
        workers: Processes that read; 0 reads in this one.

    Raises:
        PlanError: The images are not those of the plan.
        ImageError: A crop cannot be read.
        FeatureError: The folder has features already, or begun ones of another plan or extractor, or no room for them.
        PfidError: A worker process ended unasked.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _TOLD).exists():
        raise FeatureError(f"{folder} has features already: load them, or keep these elsewhere")
    sides: dict[Side, Images] = {"real": real, "fake": fake}
    for side, images in sides.items():
        plan.side(side).check(images, side)
    told: dict[str, Any] = {
        "plan_sha256": plan.sha256,
        "extractor": extractor.name,
        "resize": f"crops by {_reading(real, fake)}; patches {extractor.resize}",
        "notes": _notes(real, fake),
    }
    _begin(folder, plan, told, extractor.dimensions)
    measured, white = (np.load(folder / name, mmap_mode="r+") for name in (_MEASURED, "white.npy"))
    for row, (side, images) in enumerate(sides.items()):
        values = np.load(folder / f"{side}.npy", mmap_mode="r+")
        yield Progress(f"{side} crops", int(measured[row].sum()), len(plan))
        for batch in read_crops(
            images, plan, side, batch_size=batch_size, workers=workers, skip=np.array(measured[row])
        ):
            values[batch.numbers] = extractor(batch.patches)
            if plan.white:
                white[row, batch.numbers] = plan.white.is_white(batch.patches)
            measured[row, batch.numbers] = True
            yield Progress(f"{side} crops", int(measured[row].sum()), len(plan))
        del values  # writes what is left to disk
    del white
    _write_json(folder / _TOLD, told)
    for name in (_BEGUN, _MEASURED):
        (folder / name).unlink()
    yield CropFeatures.load(folder)


def _begin(folder: Path, plan: CropPlan, told: dict[str, Any], dimensions: int) -> None:
    """Makes the files that features go to, or checks that those which are there were begun for the same.

    They take their place on the disk at once: that it is full is told now, not when values are written.
    """
    begun = folder / _BEGUN
    if begun.exists():
        if json.loads(begun.read_text(encoding="utf-8")) != told:
            raise FeatureError(f"{folder} has unfinished features of other crops or another extractor")
        return
    wanted: dict[str, tuple[tuple[int, ...], type[np.float32] | type[np.bool_]]] = {
        **{f"{side}.npy": ((len(plan), dimensions), np.float32) for side in SIDES},
        **{name: ((2, len(plan)), np.bool_) for name in ("white.npy", _MEASURED)},
    }
    for name, (shape, kind) in wanted.items():
        path = folder / name
        try:
            np.lib.format.open_memmap(path, "w+", kind, shape)
            if hasattr(os, "posix_fallocate"):
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise FeatureError(f"{path}: no room for the features: {error.strerror or error}") from None
    plan.save(folder / _PLAN)
    _write_json(begun, told)


def _write_json(path: Path, told: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _reading(real: Images, fake: Images) -> str:
    if real.reading == fake.reading:
        return real.reading
    return f"{real.reading} (real) and {fake.reading} (generated)"


def _notes(real: Images, fake: Images) -> list[str]:
    notes = ["both sides are the same images"] if real is fake or real.places == fake.places else []
    notes += [f"{name}: {note}" for name, side in (("real", real), ("generated", fake)) for note in side.notes]
    if real.reading != fake.reading:
        notes.append("the two sides are read by different filters, which counts as a difference")
    return notes
