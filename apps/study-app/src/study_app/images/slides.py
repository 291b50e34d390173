"""Whole slides become those of a study: fields of one size and scale, as tiles that are encoded alike."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from run_folder import UsageError
from study_app.database import Database, Study, StudyKind
from study_app.images.fields import cut_tiles, place_field
from study_app.images.importing import REAL, Imported
from study_app.images.pictures import NewPicture
from study_app.images.scaled import ScaledSlide, SlideSources
from study_app.images.storing import Outcome, file_of, importing_alone, outcome_of, store_slide
from study_app.outputs import whole_file
from study_app.stored_images.tiles import TILES_SUFFIX, TileGrid, whole_size, write_tiles
from study_app.studies import study_named


@dataclass(frozen=True)
class SlideRequest:
    """A request to import slides.

    Args:
        study: The study's name; it is a draft.
        sources: The slides.
        field_um: Side of the field that readers see of each slide, micrometres, for a new study; None takes the largest
            that all slides have.

    Raises:
        UsageError: The field is none.
    """

    study: str
    sources: SlideSources
    field_um: float | None = None

    def __post_init__(self) -> None:
        if self.field_um is not None and not 0 < self.field_um < math.inf:
            raise UsageError(f"a field of {self.field_um} micrometres: wanted more than 0")

    @property
    def size_px(self) -> int:
        """Side of the field of a new study, pixels at the scale of its slides."""
        return self.size_at(self.sources.mpp)

    def size_at(self, mpp: float) -> int:
        """Side of the field, pixels, at a scale."""
        field_um = self.field_um if self.field_um is not None else min(self.sources.sides_um())
        pixels = int(field_um / mpp + 1e-6)  # what is as good as whole is whole
        if pixels < 1:
            raise UsageError(f"a field of {field_um:.4g} micrometres is less than a pixel, which is {mpp:.4g}")
        return whole_size(pixels)

    def notes(self, study_field_um: float) -> list[str]:
        """Notes on what readers might tell the sides by, for those who run the study."""
        notes = self.sources.notes()
        small = sum(side_um < study_field_um * 0.98 for side_um in self.sources.sides_um())
        if small:
            notes.append(f"{small} slides are smaller than the field, and lie on their background: readers see it")
        return notes


def import_slides(database: Database, images: Path, request: SlideRequest) -> Iterator[Imported]:
    """Imports slides, and yields how far it is. Run again, it goes on with the first slide that is not there.

    Of each slide the field with the most tissue is taken, at the scale and of the size of the study. All of its levels
    are made anew and encoded alike.

    Args:
        database: Where the study is.
        images: The folder of the images of all studies.
        request: What is imported.

    Raises:
        UsageError: The study is no draft of slides, a slide would be enlarged, or see `store_slide` and
            `importing_alone`.
        SlideError: A slide cannot be read.
    """
    with database.reading() as session:
        study = study_named(session, request.study)
    if study.kind is not StudyKind.SLIDES or study.mpp is None:
        raise UsageError(f"the study '{study.name}' shows no whole slides")
    if request.field_um is not None and request.size_at(study.mpp) != study.size_px:
        raise UsageError(
            f"the study '{study.name}' is there, with a field of {study.size_px * study.mpp:.4g} micrometres"
        )
    grid = TileGrid(study.size_px)
    names = [(side, name) for side, slides in request.sources.sides.items() for name in slides.facts]
    total = grid.count * len(names)
    with importing_alone(images, study):
        for number, (side, name) in enumerate(names):
            with closing(request.sources.sides[side].open(name, study.mpp)) as slide:
                for done, outcome in _import_slide(database, images, study, grid, slide, name, side):
                    yield Imported(side, outcome, grid.count * number + done, total)


def _import_slide(
    database: Database, images: Path, study: Study, grid: TileGrid, slide: ScaledSlide, name: str, side: str
) -> Iterator[tuple[int, Outcome | None]]:
    """Imports a slide, and yields how many tiles are cut; with the last, what became of it."""
    field = place_field(slide, grid.size_px)
    picture = NewPicture(
        name=name,
        version=None if side == REAL else side,
        pixels=field.small,
        sha256=field.sha256,
        size_px=slide.slide.size_l0,
        tissue_share=field.tissue_share,
        source=name,
        xy=(field.xy[0] * slide.factor, field.xy[1] * slide.factor),
        field_um=grid.size_px * slide.mpp,
    )
    outcome = outcome_of(database, study, picture)
    if outcome is Outcome.NEW:
        path = images / file_of(study, picture, TILES_SUFFIX)
        with whole_file(path) as partial:
            scratch = path.with_name(f".{path.stem}.cutting")
            yield from ((done, None) for done in write_tiles(partial, grid, cut_tiles(slide, field, grid, scratch)))
        outcome = store_slide(database, study, picture)
    yield grid.count, outcome
