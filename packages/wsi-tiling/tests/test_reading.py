"""The same picture in every form gives the same reads, and those are OpenSlide's own pixels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from wsi_tiling import ArraySlide, Image, PyramidWriter, Slide, open_slide, read_region
from wsi_tiling.reading.formats.openslide_slide import OpenSlideSlide
from wsi_tiling.reading.tiff.slide import TiffSlide
from wsi_tiling.region import block_mean

BACKGROUND = (20, 200, 90)
FORMS = ("array", "png", "strips", "tiff", "ome", "openslide")
SIZES = {"even": (1024, 768), "odd": (1021, 701)}

places = st.tuples(*[st.integers(-1500, 2500) | st.floats(-1e4, 1e4) | st.integers(-(10**12), 10**12)] * 2)
sizes = st.tuples(*[st.integers(1, 80)] * 2)
scales = st.tuples(*[st.sampled_from([1.0, 2.0, 4.0, 0.5]) | st.floats(0.1, 40)] * 2)


def write_forms(folder: Path, image: Image) -> dict[str, Path]:
    height, width = image.shape[:2]
    levels = [image]
    while max(levels[-1].shape) > 256:
        levels.append(block_mean(levels[-1], (2, 2)))
    PilImage.fromarray(image).save(folder / "slide.png")
    tifffile.imwrite(folder / "strips.tif", image, photometric="rgb", rowsperstrip=33, compression="lzw")
    with tifffile.TiffWriter(folder / "slide.ome.tif", ome=True) as tiff:
        tiff.write(levels[0], photometric="rgb", tile=(64, 128), subifds=len(levels) - 1, compression="zlib")
        for level in levels[1:]:
            tiff.write(level, photometric="rgb", tile=(64, 128), subfiletype=1, compression="zlib")
    for name, objective in (("tiff", None), ("openslide", 20.0)):
        with PyramidWriter(
            folder / f"{name}.tif", (width, height), mpp=0.5, objective=objective, quality=None, tile_px=128
        ) as writer:
            writer.write((0, 0), image)
    names = {"png": "slide.png", "strips": "strips.tif", "ome": "slide.ome.tif"}
    return {form: folder / names.get(form, f"{form}.tif") for form in FORMS if form != "array"}


@pytest.fixture(scope="module", params=list(SIZES))
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Slide]]:
    width, height = SIZES[request.param]
    y, x = np.mgrid[:height, :width]
    waves = np.stack([x * 0.2, y * 0.25, 120 + 100 * np.sin(x / 17) * np.cos(y / 29)], axis=-1)
    noise = np.random.default_rng(3).integers(0, 30, waves.shape)
    image = (waves + noise).clip(0, 255).astype(np.uint8)
    slides: dict[str, Slide] = {"array": ArraySlide(image, background=BACKGROUND)}
    for form, path in write_forms(tmp_path_factory.mktemp("forms"), image).items():
        slides[form] = open_slide(path, background=BACKGROUND, cache_mib=0.5)
    yield slides
    for slide in slides.values():
        slide.close()


def test_the_forms_are_read_in_different_ways(forms: dict[str, Slide]) -> None:
    kinds = {"array": ArraySlide, "png": ArraySlide, "strips": ArraySlide, "tiff": TiffSlide, "ome": TiffSlide}
    assert {form: type(slide) for form, slide in forms.items()} == kinds | {"openslide": OpenSlideSlide}
    assert len({slide.levels for slide in forms.values()}) == 1


@settings(max_examples=150, deadline=None)
@given(xy=places, size=sizes, scale=scales)
def test_the_same_picture_gives_the_same_reads(
    forms: dict[str, Slide], xy: tuple[float, float], size: tuple[int, int], scale: tuple[float, float]
) -> None:
    field = (size[0] * scale[0], size[1] * scale[1])
    reads = {form: slide.read(xy, field, size) for form, slide in forms.items()}
    assert reads["array"].shape == (size[1], size[0], 3)
    for form, read in reads.items():
        if form == "openslide" and forms[form].size_l0 == SIZES["odd"]:
            continue  # OpenSlide does not give the whole pixels of such levels: see below
        np.testing.assert_array_equal(read, reads["array"], err_msg=form)


@settings(max_examples=100, deadline=None)
@given(x=st.integers(-400, 1200), y=st.integers(-400, 1000), size=sizes)
def test_whole_pixels_of_level_0_are_openslides_own(
    forms: dict[str, Slide], x: int, y: int, size: tuple[int, int]
) -> None:
    path = forms["openslide"].path
    assert path is not None
    with openslide.OpenSlide(path) as oracle:
        rgba = np.asarray(oracle.read_region((x, y), 0, size))
    expected = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.array(BACKGROUND, np.uint8))
    for form, slide in forms.items():
        np.testing.assert_array_equal(slide.read((x, y), size, size), expected, err_msg=form)


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Slide]]:
    """A smooth picture of odd size, through OpenSlide and in memory."""
    path = tmp_path_factory.mktemp("smooth") / "slide.tif"
    y, x = np.mgrid[:701, :1021]
    image = np.stack([x * 0.2, y * 0.3, 100 + (x + y) / 20], axis=-1).astype(np.uint8)
    with PyramidWriter(path, (1021, 701), mpp=0.5, objective=20, quality=None) as writer:
        writer.write((0, 0), image)
    with open_slide(path, background=BACKGROUND) as slide:
        yield [slide, ArraySlide(image, background=BACKGROUND)]


@settings(max_examples=60, deadline=None)
@given(xy=places, size=sizes, scale=scales)
def test_levels_of_odd_size_are_off_by_half_a_pixel_at_most_through_openslide(
    smooth: list[Slide], xy: tuple[float, float], size: tuple[int, int], scale: tuple[float, float]
) -> None:
    field = (size[0] * scale[0], size[1] * scale[1])
    through, array = (slide.read(xy, field, size).astype(int) for slide in smooth)
    inside = min(xy) > 2 and xy[0] + field[0] < 1019 and xy[1] + field[1] < 699
    assert np.abs(through - array).max() <= (3 if inside else 20)  # the edge stands out against the background


@settings(max_examples=60, deadline=None)
@given(
    xy=st.tuples(st.floats(-200, 1200), st.floats(-200, 900)), size=sizes, scale=st.tuples(*[st.floats(0.3, 12)] * 2)
)
def test_reduced_reads_are_those_of_level_0_resized(
    forms: dict[str, Slide], xy: tuple[float, float], size: tuple[int, int], scale: tuple[float, float]
) -> None:
    """Levels only save work: what is read from them is what a resize of all of level 0 gives, to the noise."""
    (x, y), width, height = xy, size[0] * scale[0], size[1] * scale[1]
    whole = forms["array"].read((0, 0), forms["array"].size_l0, forms["array"].size_l0)
    direct = read_region(whole, (x, y, x + width, y + height), size, BACKGROUND)
    difference = np.abs(forms["tiff"].read(xy, (width, height), size).astype(int) - direct)
    assert difference.mean() <= 2
    assert difference.max() <= 14
