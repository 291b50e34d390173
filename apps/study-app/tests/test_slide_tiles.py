"""Slides cut into tiles, and imported; their colours tell places: red grows by two a micrometre, green likewise."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from run_folder import UsageError
from study_app.database import Database, Image, Study
from study_app.images.fields import place_field
from study_app.images.importing import Imported
from study_app.images.scaled import ScaledSlide, SlideSources
from study_app.images.slides import SlideRequest, import_slides
from study_app.images.storing import Outcome
from study_app.settings import Settings
from study_app.stored_images.encoding import BLOCK
from study_app.stored_images.tiles import OVERLAP_PX, TILE_PX, TileGrid, read_tile, tile_length, whole_size, write_tiles
from study_app.studies import NewStudy, create_study, open_study, study_named
from wsi_tiling import ArraySlide

UM = 0.15
"""Micrometres a pixel of most slides here: colours tell places within some 90 micrometres."""


@given(st.integers(1, 20_000))
def test_a_grid_covers_every_level_once(side: int) -> None:
    size = whole_size(side)
    assert 0 < size <= side
    assert side - size < max(1, side / 128)  # next to nothing is lost
    grid = TileGrid(size)
    boxes = list(grid.boxes()) if grid.count < 2000 else []
    assert len(boxes) in (0, grid.count)
    for number, (level, (left, top, right, bottom)) in enumerate(boxes):
        column, row = -(-left // TILE_PX), -(-top // TILE_PX)
        assert grid.number(level, column, row) == number
        length = size // grid.pyramid.downsample(level)
        assert (left, top) == (max(0, column * TILE_PX - OVERLAP_PX), max(0, row * TILE_PX - OVERLAP_PX))
        assert right == min(length, (column + 1) * TILE_PX + OVERLAP_PX)
        assert bottom == min(length, (row + 1) * TILE_PX + OVERLAP_PX)
    assert size % grid.pyramid.downsample(grid.pyramid.min_level) == 0
    assert grid.columns(grid.pyramid.min_level) == 1
    last = grid.columns(grid.pyramid.max_level) - 1
    assert grid.number(grid.pyramid.max_level, last, last) == grid.count - 1
    for outside in (
        (grid.pyramid.max_level + 1, 0, 0),
        (grid.pyramid.max_level, last + 1, 0),
        (grid.pyramid.max_level, 0, -1),
    ):
        assert grid.number(*outside) is None


def test_sizes_whose_levels_have_parts_of_pixels_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be halved"):
        TileGrid(1001)


@given(st.lists(st.binary(max_size=50), min_size=5, max_size=5))
def test_tiles_come_back_from_their_file_all_equally_long(tmp_path_factory: Any, tiles: list[bytes]) -> None:
    path, grid = tmp_path_factory.mktemp("tiles") / "a.tiles", TileGrid(512)
    assert list(write_tiles(path, grid, tiles)) == [1, 2, 3, 4, 5]
    length = tile_length([path], grid)
    assert length == (BLOCK if any(tiles) else 0)
    read = [read_tile(path, number, length) for number in range(grid.count)]
    assert read == [tile.ljust(length, b"\0") for tile in tiles]


@pytest.mark.parametrize(("left", "top"), [(0, 0), (700, 90), (333, 400)])
def test_the_field_is_where_the_tissue_is(left: int, top: int) -> None:
    pixels = np.full((600, 1000, 3), 244, np.uint8)
    pixels[top : top + 200, left : left + 300] = (160, 60, 150)
    slide = ScaledSlide(ArraySlide(pixels, mpp=0.5), 0.5)
    field = place_field(slide, 304)
    assert left - 4 <= field.xy[0] + 304 - 300 <= left + 8 or field.xy[0] in (0, 1000 - 304)
    assert field.tissue_share == pytest.approx(200 * 300 / 304**2, abs=0.02)


def test_a_slide_smaller_than_the_field_lies_in_its_middle() -> None:
    slide = ScaledSlide(ArraySlide(np.full((80, 120, 3), (160, 60, 150), np.uint8), mpp=0.5), 0.5)
    field = place_field(slide, 128)
    assert field.xy == (-4, -24)
    assert field.tissue_share == pytest.approx(80 * 120 / 128**2, abs=0.02)


def test_slides_are_never_enlarged() -> None:
    slide = ArraySlide(np.zeros((8, 8, 3), np.uint8), mpp=0.5)
    with pytest.raises(UsageError, match="would be enlarged"):
        ScaledSlide(slide, 0.25)
    assert ScaledSlide(slide, 0.499).factor == 1.0  # as good as the same
    assert ScaledSlide(slide, 1.0).size == (4, 4)


Bring = Callable[..., list[Imported]]


@pytest.fixture
def bring(settings: Settings, database: Database, clock: Any) -> Bring:
    """Imports slides into a study, which is made like the first ones."""

    def run(real: list[Path], synthetic: list[Path], version: str = "v1", field_um: float | None = None) -> Any:
        request = SlideRequest("slides", SlideSources(tuple(real), tuple(synthetic), version), field_um)
        with database.writing() as session:
            if session.scalar(select(Study.id)) is None:
                new = NewStudy("slides", request.size_px, kind="slides", mpp=request.sources.mpp)  # type: ignore[arg-type]
                create_study(session, new, now=clock())
        return list(import_slides(database, settings.images, request))

    return run


def decoded(tile: bytes) -> Any:
    return np.asarray(PIL.Image.open(io.BytesIO(tile))).astype(float)


def test_both_slides_have_one_field_one_scale_and_tiles_of_one_kind(
    bring: Bring, draw_slide: Any, settings: Settings, database: Database, clock: Any
) -> None:
    """A scanner's slide of finer pixels, and a smaller drawn one: each pixel shows what lies at its place."""
    events = bring([draw_slide("real.tiff", (1210, 1000), UM / 2)], [draw_slide("drawn.tiff", (560, 520), UM)])
    assert [event.outcome for event in events if event.outcome] == [Outcome.NEW, Outcome.NEW]
    assert [event.done for event in events][-1] == events[-1].total
    with database.writing() as session:
        study = study_named(session, "slides")
        open_study(session, study, settings.images, now=clock())
        images = session.scalars(select(Image).order_by(Image.id)).all()
    grid = TileGrid(study.size_px)
    assert study.size_px == whole_size(int(1000 * UM / 2 / UM))  # of the shortest side of all
    for image, mpp in zip(images, (UM / 2, UM), strict=True):
        assert image.field_um == pytest.approx(study.size_px * UM)
        for number, (level, (left, top, right, bottom)) in enumerate(grid.boxes()):
            tile = read_tile(settings.images / image.file, number, study.tile_bytes or 0)
            assert len(tile) == study.tile_bytes
            pixels, factor = decoded(tile), grid.pyramid.downsample(level)
            assert pixels.shape == (bottom - top, right - left, 3)
            place = (
                (image.x or 0) * mpp + (left + right) / 2 * factor * UM,
                (image.y or 0) * mpp + (top + bottom) / 2 * factor * UM,
            )
            assert ((pixels[..., 0].mean() - 60) / 2, pixels[..., 1].mean() / 2) == pytest.approx(place, abs=0.5)


def test_pixels_of_slides_of_one_scale_are_their_own(
    bring: Bring, draw_slide: Any, settings: Settings, database: Database
) -> None:
    paths = [draw_slide("real.tiff", (320, 300), UM), draw_slide("drawn.tiff", (300, 310), UM * 1.005)]
    bring([paths[0]], [paths[1]])
    with database.reading() as session:
        image, study = session.get_one(Image, 1), study_named(session, "slides")
    tile = decoded(read_tile(settings.images / image.file, 1, 10**6).rstrip(b"\0"))
    left = int(image.x or 0)
    columns = 60 + 2 * UM * (np.arange(left, left + tile.shape[1]) + 0.5)
    assert study.mpp == pytest.approx(UM * 1.005)
    assert np.abs(tile[..., 0] - np.rint(columns)).mean() < 1.5


def test_slides_that_are_there_are_not_cut_again(bring: Bring, draw_slide: Any, settings: Settings) -> None:
    real = [draw_slide(f"{n}.tiff", (300, 300), UM, glass=40 * n) for n in range(2)]
    drawn = [draw_slide("drawn.tiff", (310, 300), UM)]
    bring(real, drawn)
    before = {path: path.stat().st_mtime_ns for path in settings.images.rglob("*.tiles")}
    assert len(before) == 3
    assert [event.outcome for event in bring(real, drawn)] == [Outcome.KNOWN] * 3
    assert {path: path.stat().st_mtime_ns for path in settings.images.rglob("*.tiles")} == before
    assert [path.name for path in settings.images.rglob(".*")] == [".importing"]


def test_an_import_that_is_killed_goes_on_where_it_was(
    bring: Bring, draw_slide: Any, settings: Settings, database: Database
) -> None:
    real, drawn = draw_slide("real.tiff", (300, 300), UM), draw_slide("drawn.tiff", (310, 300), UM, glass=40)
    bring([real], [draw_slide("first.tiff", (320, 300), UM)])
    request = SlideRequest("slides", SlideSources((real,), (drawn,), "v2"))
    events = import_slides(database, settings.images, request)
    assert [next(events).outcome for _ in range(3)] == [Outcome.KNOWN, None, None]
    events.close()  # in the middle of the second slide
    assert [path.name for path in settings.images.rglob(".*")] == [".importing"]
    with database.reading() as session:
        assert len(session.scalars(select(Image.id)).all()) == 2
    assert [event.outcome for event in bring([real], [drawn], "v2") if event.outcome] == [Outcome.KNOWN, Outcome.NEW]


def test_the_command_makes_a_study_of_slides(
    run_app: Any, draw_slide: Any, make_study: Any, settings: Settings, tmp_path: Path
) -> None:
    real, drawn = draw_slide("real.tiff", (320, 300), UM / 2), draw_slide("drawn.tiff", (200, 310), UM)

    def told(*words: Any, code: int = 1, slides: tuple[Path, Path] = (real, drawn)) -> str:
        sides = ("--real", slides[0], "--synthetic", slides[1], "--version", "v1")
        done = run_app("import-slides", settings.folder, "--study", "slides", *sides, *words)
        assert (done.code, done.err.count("\n")) == (code, code), done.err
        return str(done.out + done.err)

    (tmp_path / "empty").mkdir()
    assert "no slides in this folder" in told(slides=(tmp_path / "empty", drawn))
    assert "does not say its scale" in told(slides=(real, draw_slide("picture.png")))
    assert "less than a pixel" in told("--mpp", 5, "--field", 2, slides=(draw_slide("coarse.png"), drawn))
    first = told("--field", 25, "--title", "Slides", code=0)
    assert "a field of 25 micrometres" in first
    assert "micrometres a pixel: 0.075 of real, 0.15 of v1" in first
    assert "1 slides are smaller than the field" in first
    assert "real: 1 there already" in told("--field", 25, code=0)
    assert "with a field of 24.9 micrometres" in told("--field", 20)
    assert "1 pairs" in run_app("open", settings.folder, "slides").out
    assert "stay as they are" in told(slides=(real, draw_slide("late.tiff", (200, 320), UM)))
    make_study("tiles", pairs=0, opened=False)
    assert "the study 'tiles' is there, with kind pairs" in told("--study", "tiles")
