"""Slides whose canvas is larger than what was scanned: tiles and fields lie on the scanned region."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from wsi_tiling import (
    RECOMMENDED,
    ArraySlide,
    Image,
    Slide,
    TileTable,
    TissueRule,
    find_tiles,
    load_into_memory,
    open_slide,
    overview,
    random_crops,
    whole_slide_fields,
)
from wsi_tiling.reading.formats.openslide_slide import _stated_bounds

NM, CANVAS = 500, (1500, 2400)
LEFT, TOP, WIDTH, HEIGHT = SCANNED = (300, 1900, 512, 384)
GLASS, STAIN = (243, 243, 242), (190, 110, 170)


def scan() -> Image:
    image = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image[((x - WIDTH / 2) / 180) ** 2 + ((y - HEIGHT / 2) / 130) ** 2 < 1] = STAIN
    return image


def scn_image(name: str, pages: list[tuple[int, int, int]], view: tuple[int, int, int, int]) -> str:
    dimensions = "".join(f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{i}"/>' for r, (i, w, h) in enumerate(pages))
    return (
        f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2010-01-01T00:00:00Z</creationDate>'
        f'<device model="Leica SCN400;Leica SCN" version="1.4"/>'
        f'<pixels sizeX="{pages[0][1]}" sizeY="{pages[0][2]}">{dimensions}</pixels>'
        f'<view sizeX="{view[2] * NM}" sizeY="{view[3] * NM}" offsetX="{view[0] * NM}" offsetY="{view[1] * NM}" '
        'spacingZ="0"/><scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>'
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    )


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide in Leica's form: a scan of 512 x 384 px in the corner of a stage of 1500 x 2400 px."""
    path = tmp_path_factory.mktemp("leica") / "corner.scn"
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:0">'
        f'<collection name="c" uuid="urn:uuid:1" sizeX="{CANVAS[0] * NM}" sizeY="{CANVAS[1] * NM}"><barcode></barcode>'
        + scn_image("macro", [(0, 50, 80)], (0, 0, *CANVAS))
        + scn_image("scan", [(1, WIDTH, HEIGHT), (2, WIDTH // 4, HEIGHT // 4)], SCANNED)
        + "</collection></scn>"
    )
    options = {"photometric": "rgb", "tile": (128, 128), "compression": "jpeg", "metadata": None}
    resolution = {"resolution": (1e7 / NM,) * 2, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(np.full((80, 50, 3), 240, np.uint8), description=xml, **options)
        tiff.write(scan(), **resolution, **options)
        tiff.write(scan()[::4, ::4].copy(), **options)
    return path


def alone() -> ArraySlide:
    return ArraySlide(scan(), path="alone.tif")


def rows(table: TileTable, left: int = 0, top: int = 0) -> list[tuple[int, int, float]]:
    frame = table.frame
    return list(zip(frame["x_l0"] - left, frame["y_l0"] - top, frame["field_l0"], strict=True))


def test_the_region_that_the_file_states_is_known(corner: Path) -> None:
    with openslide.OpenSlide(corner) as oracle, open_slide(corner) as slide:
        assert slide.size_l0 == oracle.dimensions == CANVAS
        assert slide.bounds_l0 == SCANNED
        assert slide.mpp == 0.5
        assert load_into_memory(slide).bounds_l0 == SCANNED
        np.testing.assert_allclose(slide.glass, GLASS, atol=2)
        inside = slide.read((LEFT, TOP), (WIDTH, HEIGHT), (64, 48)).astype(int)
        expected = alone().read((0, 0), (WIDTH, HEIGHT), (64, 48)).astype(int)
        assert np.abs(inside - expected).mean() < 4
    assert alone().bounds_l0 == (0, 0, WIDTH, HEIGHT)


@pytest.mark.parametrize("rule", [RECOMMENDED, TissueRule(kind="otsu")])
def test_tiles_are_those_of_the_scan_alone(corner: Path, rule: TissueRule) -> None:
    with open_slide(corner) as slide:
        found = find_tiles([slide], field_l0=[128, 200], rule=rule, overlap=0.2, half_shifts=True)
    expected = find_tiles([alone()], field_l0=[128, 200], rule=rule, overlap=0.2, half_shifts=True)
    assert len(expected) > 10
    assert rows(found, LEFT, TOP) == rows(expected)


@pytest.mark.parametrize("larger", ["crop", "cover"])
@pytest.mark.parametrize("field", [2048, 200])
def test_whole_slide_fields_are_those_of_the_scan_alone(corner: Path, larger: str, field: int) -> None:
    with open_slide(corner) as slide:
        found = whole_slide_fields(slide, field, larger=larger, rule=RECOMMENDED)
    expected = whole_slide_fields(alone(), field, larger=larger, rule=RECOMMENDED)
    assert rows(found, LEFT, TOP) == rows(expected)
    np.testing.assert_allclose(found.frame["tissue"], expected.frame["tissue"], atol=0.03)


def test_crops_lie_on_the_scanned_region(corner: Path) -> None:
    def crops(slide: Slide) -> TileTable:
        return random_crops(slide, 64, 30, np.random.default_rng(0), rule=RECOMMENDED, min_tissue=0.5)

    with open_slide(corner) as slide:
        found = crops(slide)
    expected = crops(alone())
    matching = set(rows(found, LEFT, TOP)) & set(rows(expected))
    assert len(matching) > 25


def test_the_overview_shows_the_scanned_region(corner: Path) -> None:
    with open_slide(corner) as slide:
        drawn = overview(slide, find_tiles([slide], field_l0=128, rule=RECOMMENDED), RECOMMENDED, 256)
    expected = overview(alone(), find_tiles([alone()], field_l0=128, rule=RECOMMENDED), RECOMMENDED, 256)
    assert drawn.shape == expected.shape
    assert np.abs(drawn.astype(int) - expected).mean() < 5


@pytest.mark.parametrize(
    ("stated", "bounds"),
    [
        (("10", "20", "30", "40"), (10, 20, 30, 40)),
        (("-10", "90", "30", "40"), (0, 90, 20, 10)),
        (("10", "20", "30", "0"), None),
        (("200", "20", "30", "40"), None),
        (("10", "20", "much", "40"), None),
        (("10", "20", "30"), None),
    ],
)
def test_the_region_lies_on_the_canvas(stated: tuple[str, ...], bounds: tuple[int, ...] | None) -> None:
    names = ["openslide.bounds-" + name for name in ("x", "y", "width", "height")]
    assert _stated_bounds(dict(zip(names, stated, strict=False)), (100, 100)) == bounds
