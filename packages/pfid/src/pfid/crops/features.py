"""Features of the crops of a plan: computed once, kept on disk, used for every metric."""

import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pfid.crops.plan import SIDES, CropPlan, Side
from pfid.crops.reading import read_crops
from pfid.errors import DAMAGED_ARRAYS, FeatureError
from pfid.features.extractors import Extractor
from pfid.images.sources import Images, listed, note_compression
from pfid.progress import WorkProgress, long_work
from run_folder import first_line, whole_file

Contents: TypeAlias = dict[Side, dict[str, str]]

_PLAN = "plan.npz"
_RECORD = "features.json"
_BEGUN = "begun.json"
_MEASURED = "measured.npy"


@dataclass(frozen=True, eq=False)
class CropFeatures:
    """Features of both sides' crops, in the order of the plan. Row i of one side belongs to row i of the other.

    Attributes:
        plan: The crops.
        real, fake: One row a crop, (N, D) float32; on disk, read when needed.
        white: Which crops are white by the plan's rule, real and fake, (2, N).
        extractor: Name of the extractor.
        resize: How crops were read, and resized for it.
        notes: Notes on the images, a line each.
        contents: Digests of the images that were measured, by their names, real and fake; None where an earlier
            version did not record them.
        FILES: All files that `measure_crops` writes to its folder; the last two only until it is done.
    """

    FILES: ClassVar[tuple[str, ...]] = (
        _PLAN,
        _RECORD,
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
    contents: Contents | None = None

    @classmethod
    def complete_in(cls, folder: str | Path) -> bool:
        """Whether `measure_crops` has completed the features in a folder."""
        return (Path(folder) / _RECORD).exists()

    @classmethod
    def plan_in(cls, folder: str | Path) -> CropPlan | None:
        """Returns the plan of the features in a folder, complete or begun; None if there is none.

        Raises:
            PlanError: It is damaged.
        """
        path = Path(folder) / _PLAN
        return CropPlan.load(path) if path.exists() else None

    @property
    def kept(self) -> NDArray[np.int64]:
        """Indices of the pairs in which no crop is white, (M,)."""
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
            record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            plan = CropPlan.load(folder / _PLAN)
            real, fake, white = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in (*SIDES, "white"))
            notes, contents = tuple(record["notes"]), record.get("contents")
            features = cls(plan, real, fake, white, record["extractor"], record["resize"], notes, contents)
            of_plan = record["plan_sha256"] == plan.sha256 and len(real) == len(fake) == white.shape[1] == len(plan)
        except OSError as error:
            raise FeatureError(f"{folder}: no complete features of crops: {error.strerror or error}") from None
        except DAMAGED_ARRAYS as error:
            raise FeatureError(
                f"{folder}: the features of crops are damaged ({first_line(error)}); measure them again in another "
                "folder"
            ) from None
        if not of_plan:
            raise FeatureError(f"{folder}: the features are not those of the plan beside them")
        return features

    def check_same(self, *, real: Images, fake: Images, extractor: Extractor) -> None:
        """Checks that these are the features that the images would have if they were measured now.

        Args:
            real: The real images.
            fake: The generated ones.
            extractor: The feature extractor.

        Raises:
            FeatureError: The images have other contents or are read differently, or the extractor differs.
            ImageError: An image cannot be read.
        """
        was = {"extractor": self.extractor, "resize": self.resize, "contents": self.contents}
        now = {"extractor": extractor.name, "resize": _resize(real, fake, extractor), "contents": _contents(real, fake)}
        if change := _change(was, now):
            raise FeatureError(f"the features of crops are of {change}; measure these again in another folder")


@long_work
def measure_crops(
    *,
    real: Images,
    fake: Images,
    plan: CropPlan,
    extractor: Extractor,
    folder: str | Path,
    batch_size: int = 64,
    workers: int = 2,
) -> Generator[WorkProgress, None, CropFeatures]:
    """Reads all crops of a plan and computes their features.

    Crops are read in worker processes while the extractor works. Features are written to disk at once, so memory does
    not grow with the number of crops. A later call continues one that was interrupted, if the images are the
    same. A folder with complete features of the same images is loaded.

    Args:
        real: The real images of the plan.
        fake: The generated ones.
        plan: The crops.
        extractor: The feature extractor.
        folder: Folder to keep the features in; made if missing.
        batch_size: Crops that the extractor gets at a time.
        workers: Processes that read; 0 reads in this one.

    Returns:
        `Work` whose result are the `CropFeatures`.

    Raises:
        PlanError: The images are not those of the plan.
        ImageError: A crop cannot be read.
        FeatureError: The folder has features of another plan or extractor, or of images with other contents, or no room
            for them.
        PfidError: A worker process ended unexpectedly.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if CropFeatures.complete_in(folder):
        features = CropFeatures.load(folder)
        if features.plan.sha256 != plan.sha256:
            raise FeatureError(f"{folder} has features of other crops; measure these in another folder")
        features.check_same(real=real, fake=fake, extractor=extractor)
        return features
    sides: dict[Side, Images] = {"real": real, "fake": fake}
    plan.check(real=real, fake=fake)
    record: dict[str, Any] = {
        "plan_sha256": plan.sha256,
        "extractor": extractor.name,
        "resize": _resize(real, fake, extractor),
        "notes": _notes(real, fake),
        "contents": _contents(real, fake),
    }
    _begin(folder, plan, record, extractor.dimensions)
    measured, white = (_begun_array(folder / name) for name in (_MEASURED, "white.npy"))
    for row, (side, images) in enumerate(sides.items()):
        values = _begun_array(folder / f"{side}.npy")
        yield WorkProgress(f"{side} crops", int(measured[row].sum()), len(plan))
        for batch in read_crops(
            images, plan, side, batch_size=batch_size, workers=workers, skip=np.array(measured[row])
        ):
            values[batch.numbers] = extractor(batch.patches)
            if plan.white:
                white[row, batch.numbers] = plan.white.is_white(batch.patches)
            measured[row, batch.numbers] = True
            yield WorkProgress(f"{side} crops", int(measured[row].sum()), len(plan))
        del values  # writes what is left to disk
    del white
    _write_json(folder / _RECORD, record)
    for name in (_BEGUN, _MEASURED):
        (folder / name).unlink()
    return CropFeatures.load(folder)


def _begin(folder: Path, plan: CropPlan, record: dict[str, Any], dimensions: int) -> None:
    """Makes the files for the features, or checks that existing ones were begun for the same measurement.

    Their disk space is reserved at once: a full disk is an error now, not when values are written.
    """
    begun = folder / _BEGUN
    if begun.exists():
        try:
            was = json.loads(begun.read_text(encoding="utf-8"))
            change = _change(was, record)
        except (ValueError, AttributeError, TypeError):
            raise FeatureError(f"{begun} is damaged; measure the crops again in another folder") from None
        if change:
            raise FeatureError(f"{folder} has unfinished features of {change}; measure these again in another folder")
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
    _write_json(begun, record)


def _begun_array(path: Path) -> NDArray[Any]:
    """Opens an array that `_begin` made, for writing."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r+")
    except DAMAGED_ARRAYS:
        raise FeatureError(f"{path} is damaged; measure the crops again in another folder") from None
    return array


def _change(was: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Names a change since the measurement began; None if there is none."""
    for key, change in (
        ("plan_sha256", "other crops"),
        ("extractor", "another extractor"),
        ("resize", "other reading"),
    ):
        if was.get(key) != now.get(key):
            return f"{change} ({was.get(key)})" if key == "extractor" else change
    if was.get("contents") is None:
        return "images whose contents were not recorded"
    for side in SIDES:
        before, after = was["contents"][side], now["contents"][side]
        changed = [name for name in after if before.get(name) != after[name]]
        if changed or len(before) != len(after):
            return f"other {side} images: {listed(changed)} had other contents"
    return None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _contents(real: Images, fake: Images) -> Contents:
    sides: tuple[tuple[Side, Images], ...] = (("real", real), ("fake", fake))
    return {side: dict(zip(images.names, images.contents, strict=True)) for side, images in sides}


def _resize(real: Images, fake: Images, extractor: Extractor) -> str:
    return f"crops by {_reading(real, fake)}; patches {extractor.resize}"


def _reading(real: Images, fake: Images) -> str:
    if real.reading == fake.reading:
        return real.reading
    return f"{real.reading} (real) and {fake.reading} (generated)"


def _notes(real: Images, fake: Images) -> list[str]:
    notes = []
    if shared := set(real.contents) & set(fake.contents):
        same = len(shared) == len(set(real.contents)) == len(set(fake.contents))
        notes.append("both sides are the same images" if same else f"{len(shared)} images are on both sides")
    sides = zip(("real", "generated"), note_compression(real, fake), strict=True)
    notes += [f"{name}: {note}" for name, side in sides for note in side.notes]
    if real.reading != fake.reading:
        notes.append("the two sides are read by different filters, which counts as a difference")
    return notes
