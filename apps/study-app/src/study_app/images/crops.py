"""Random crops of slides at several scales, from a crop plan of `pfid` that is stored with the study."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

import pfid
from pfid.crops.plan import Side
from run_folder import UsageError
from study_app.database import CropPair, Database, Image, StoredCropPlan, Study, StudyKind
from study_app.images.importing import Imported, check_share
from study_app.images.pictures import NewPicture, prepare
from study_app.images.scaled import ScaledSlide, SlideSide, SlideSources
from study_app.images.storing import Outcome, importing_alone, store_pair
from study_app.studies import study_named

_PLANNED = 10
"""Number of planned crops for each requested pair, because many show bare glass."""
PLAN_SUFFIX = ".npz"


@dataclass(frozen=True)
class CropRequest:
    """A request to import crops.

    Args:
        study: Name of the study, a draft.
        sources: Slides.
        count: Number of pairs of crops.
        min_tissue: Smallest share of tissue in a crop; pairs with less in either crop, mostly white, are skipped.

    Raises:
        UsageError: A value is invalid.
    """

    study: str
    sources: SlideSources
    count: int
    min_tissue: float = 0.0

    def __post_init__(self) -> None:
        check_share(self.min_tissue)
        if self.count < 1:
            raise UsageError(f"{self.count} pairs of crops: wanted 1 or more")

    def check_size(self, size_px: int) -> None:
        """Raises UsageError if crops of a size are larger than a slide at the common scale."""
        mpp = self.sources.mpp
        for side in self.sources.sides.values():
            for name, (size, own) in side.facts.items():
                if min(size) * own / mpp < size_px:
                    raise UsageError(
                        f"{name} is smaller than a crop of {size_px} px at {mpp:.4g} micrometres a pixel, the scale of "
                        "the coarsest slide: enlarged, it would give itself away"
                    )


def import_crops(database: Database, images: Path, request: CropRequest) -> Iterator[Imported]:
    """Imports pairs of crops and yields the outcome of each; the stored plan gives the same crops in every call.

    The two crops of a pair have the same size in micrometres, at a random scale: from a crop at the scale of the
    coarsest slide to the largest square of the smaller of the two slides.

    Args:
        database: Database of the study.
        images: Folder of the images of all studies.
        request: Crops to import.

    Raises:
        UsageError: The study is not a draft, or has other images than crops; or see `store_pair` and `importing_alone`.
        PlanError: Slides are smaller than a crop, or are not those of the plan.
        SlideError: A slide cannot be read.
    """
    with database.reading() as session:
        study = study_named(session, request.study)
        in_pairs = select(CropPair.real_image_id).union(select(CropPair.synthetic_image_id))
        others = session.scalar(select(Image.id).where(Image.study_id == study.id, Image.id.not_in(in_pairs)).limit(1))
    if study.kind is StudyKind.SLIDES or others is not None:
        shown = "whole slides" if study.kind is StudyKind.SLIDES else "images of folders"
        raise UsageError(f"the study '{study.name}' shows {shown}, and no crops of slides")
    done = 0
    with importing_alone(images, study):
        row, plan = _plan(database, images, study, request)
        with _CropReader(request.sources, plan, row.mpp) as reader:
            for number in range(len(plan)):
                if done == request.count:
                    break
                pair = reader.read("real", number), reader.read("fake", number)
                outcome = store_pair(database, images, study, row, number, pair, min_tissue=request.min_tissue)
                done += outcome in (Outcome.NEW, Outcome.KNOWN)
                yield Imported(request.sources.version, outcome, done, request.count)


def _plan(database: Database, images: Path, study: Study, request: CropRequest) -> tuple[StoredCropPlan, pfid.CropPlan]:
    """The crop plan of a version: the stored one, which has to be for these slides, or a new one."""
    version = request.sources.version
    of_version = select(StoredCropPlan).where(StoredCropPlan.study_id == study.id, StoredCropPlan.version == version)
    with database.reading() as session:
        kept = session.scalar(of_version)
    mpp = request.sources.mpp if kept is None else kept.mpp
    real, fake = (side.images(mpp) for side in request.sources.sides.values())
    if kept is not None:
        plan = pfid.CropPlan.load(images / kept.file)
        plan.check(real=real, fake=fake)
        return kept, plan
    count = _PLANNED * request.count
    seed = _seed(study, version)
    plan = pfid.plan_crops(real=real, fake=fake, protocol="paired", count=count, patch_px=study.size_px, seed=seed)
    new = StoredCropPlan(
        study_id=study.id,
        version=version,
        sha256=plan.sha256,
        file=f"{study.name}/{plan.sha256}{PLAN_SUFFIX}",
        mpp=mpp,
    )
    plan.save(images / new.file)
    with database.writing() as session:
        session.add(new)
    return new, plan


def _seed(study: Study, version: str) -> int:
    """A separate seed for each version; otherwise versions with slides of equal sizes would get the same real crops."""
    return int.from_bytes(hashlib.sha256(f"{study.seed} {version}".encode()).digest()[:8]) >> 1


class _CropReader:
    """A reader of the crops of a plan, which keeps the slides open."""

    def __init__(self, sources: SlideSources, plan: pfid.CropPlan, mpp: float) -> None:
        self._plan, self._mpp = plan, mpp
        real, fake = sources.sides.values()
        self._sides: dict[str, tuple[SlideSide, str | None]] = {"real": (real, None), "fake": (fake, sources.version)}
        self._slides: dict[tuple[str, str], ScaledSlide] = {}
        self._open = ExitStack()

    def __enter__(self) -> "_CropReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self, side: Side, number: int) -> NewPicture:
        """Reads a crop in the form that readers see."""
        crop, version = self._plan.crop(side, number), self._sides[side][1]
        slide = self._slide(side, crop.image)
        field_um = crop.field * slide.mpp
        x, y = crop.xy[0] * slide.factor, crop.xy[1] * slide.factor
        return prepare(
            slide.read(crop.xy, crop.field, crop.size_px),
            crop.size_px,
            name=f"{crop.image} {number}: {field_um:.0f} um at {x:.0f}, {y:.0f}",
            version=version,
            source=crop.image,
            xy=(x, y),
            field_um=field_um,
        )

    def _slide(self, side: str, name: str) -> ScaledSlide:
        key = side, name
        if key not in self._slides:
            self._slides[key] = self._sides[side][0].open(name, self._mpp)
            self._open.callback(self._slides[key].close)
        return self._slides[key]
