import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi_tiling import ArraySlide, Image, PyramidWriter, Slide, SlideError, load_into_memory, open_slide, read_region


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory, picture: Image) -> Iterator[Slide]:
    """The picture, 3 x 3 times, as an exact pyramid on disk."""
    path = tmp_path_factory.mktemp("slides") / "pyramid.tif"
    large = np.tile(picture, (3, 3, 1))[:1280, :2048]
    with PyramidWriter(path, (2048, 1280), mpp=0.5, quality=None) as writer:
        writer.write((0, 0), large)
    with open_slide(path) as slide:
        yield slide


def test_whole_pixels_of_level_0_are_openslides_own(tiled_tiff: Path) -> None:
    with openslide.OpenSlide(tiled_tiff) as oracle, open_slide(tiled_tiff) as slide:
        expected = np.asarray(oracle.read_region((33, 71), 0, (200, 150)))[..., :3]
        np.testing.assert_array_equal(slide.read((33, 71), (200, 150), (200, 150)), expected)


def test_a_slide_tells_its_size_scale_and_levels(pyramid: Slide) -> None:
    assert pyramid.size_l0 == pyramid.size == (2048, 1280)
    assert pyramid.levels == ((2048, 1280), (1024, 640), (512, 320), (256, 160))
    assert pyramid.require_mpp() == 0.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    x=st.floats(-3000, 3000) | st.integers(-500, 2000),
    y=st.floats(-3000, 3000) | st.integers(-500, 2000),
    field=st.tuples(st.floats(1, 9000), st.floats(1, 9000)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_a_file_and_its_copy_in_memory_read_alike(
    pyramid: Slide, in_memory: Slide, x: float, y: float, field: tuple[float, float], size: tuple[int, int]
) -> None:
    from_file, from_memory = (slide.read((x, y), field, size).astype(int) for slide in (pyramid, in_memory))
    np.testing.assert_allclose(from_file, from_memory, atol=2)


@pytest.fixture(scope="module")
def in_memory(pyramid: Slide) -> ArraySlide:
    return load_into_memory(pyramid)


@pytest.mark.parametrize(
    ("scale", "level"), [(0.5, 0), (1, 0), (1.9, 0), (2, 1), (3.9, 0), (4, 2), (5, 1), (7.9, 1), (50, 2)]
)
def test_the_coarsest_level_that_is_fine_enough_is_read(tmp_path: Path, scale: float, level: int) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    with tifffile.TiffWriter(tmp_path / "colours.tif") as tiff:
        for index, colour in enumerate(colours):
            side = 1024 >> index
            image = np.full((side, side, 3), colour, np.uint8)
            tiff.write(image, tile=(128, 128), photometric="rgb", subfiletype=min(index, 1), metadata=None)
    with open_slide(tmp_path / "colours.tif") as slide:
        assert (slide.read((100, 100), 16 * scale, 16) == colours[level]).all()


@pytest.mark.parametrize("size", [(2047, 1279), (1025, 771)])
def test_levels_of_odd_size_stay_in_place(tmp_path: Path, size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[1], : size[0]]
    smooth = np.stack([x / 9, y / 9, (x + y) / 15], axis=-1).astype(np.uint8)
    with PyramidWriter(tmp_path / "odd.tif", size, mpp=None, quality=None) as writer:
        writer.write((0, 0), smooth)
    with open_slide(tmp_path / "odd.tif") as slide:
        for field in (600, 1200, 2400):
            direct = read_region(smooth, (300, 100, 300 + field, 100 + field), 100, slide.background)
            assert np.abs(slide.read((300, 100), field, 100).astype(int) - direct).max() <= 3


def test_outside_is_background(pyramid: Slide) -> None:
    assert (pyramid.read((-5000, 0), 1000, 10) == pyramid.background).all()
    assert (pyramid.read((1e9, 1e9), 1e9, 10) == pyramid.background).all()


def test_what_is_transparent_is_background() -> None:
    class Glass(ArraySlide):
        def _pixels(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
            rgb = super()._pixels(level, x_px, y_px, width_px, height_px)
            opacity = np.where(rgb[..., :1] > 0, 255, 0).astype(np.uint8)
            return np.concatenate([rgb, opacity], axis=2)

    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = (90, 30, 60)
    read = Glass(image, background=(1, 2, 3)).read((0, 0), 64, 64)
    assert (read[:, :32] == (90, 30, 60)).all()
    assert (read[:, 32:] == (1, 2, 3)).all()


def test_the_background_is_the_commonest_bright_grey() -> None:
    image = np.full((900, 900, 3), (238, 236, 240), np.uint8)
    image[:500] = (180, 60, 140)
    image[500:600] = (255, 255, 255)
    assert ArraySlide(image).background == (238, 236, 240)


def test_the_background_falls_back_to_that_of_glass() -> None:
    assert ArraySlide(np.zeros((50, 50, 3), np.uint8)).background == (242, 243, 242)


def test_a_given_background_is_kept(tiled_tiff: Path) -> None:
    with open_slide(tiled_tiff, background=(0, 0, 0)) as slide:
        assert (slide.read((-50, -50), 10, 4) == 0).all()


def test_an_unknown_scale_asks_for_mpp(picture: Image) -> None:
    slide = ArraySlide(picture)
    assert slide.mpp is None
    with pytest.raises(SlideError, match="pass mpp"):
        slide.require_mpp()


def test_a_given_scale_wins(tiled_tiff: Path) -> None:
    with open_slide(tiled_tiff) as stated, open_slide(tiled_tiff, mpp=0.25) as given_:
        assert (stated.mpp, given_.mpp) == (0.5, 0.25)
    with pytest.raises(SlideError, match="positive"):
        open_slide(tiled_tiff, mpp=0)


@pytest.mark.parametrize("field", [0, -1, float("inf"), float("nan")])
def test_a_senseless_field_is_refused(picture: Image, field: float) -> None:
    with pytest.raises(SlideError, match="wanted a finite place"):
        ArraySlide(picture).read((0, 0), field, 10)


def test_a_picture_of_the_wrong_kind_is_refused(picture: Image) -> None:
    with pytest.raises(SlideError, match="wanted an image"):
        ArraySlide(picture[..., 0])


def test_slides_survive_pickling(tiled_tiff: Path, picture: Image) -> None:
    with open_slide(tiled_tiff) as slide:
        for original in (slide, ArraySlide(picture)):
            expected = original.read((3.5, 2), 64, 32)
            with pickle.loads(pickle.dumps(original)) as copy:  # noqa: S301
                np.testing.assert_array_equal(copy.read((3.5, 2), 64, 32), expected)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_on_its_own(tiled_tiff: Path) -> None:
    context = multiprocessing.get_context("fork")
    with open_slide(tiled_tiff) as slide:
        expected = slide.read((0, 0), 500, 500)
        queue = context.SimpleQueue()
        children = [context.Process(target=lambda: queue.put(slide.read((0, 0), 500, 500).sum())) for _ in range(2)]
        for child in children:
            child.start()
        for _ in range(5):
            np.testing.assert_array_equal(slide.read((0, 0), 500, 500), expected)
        assert [queue.get() for _ in children] == [expected.sum()] * 2
        for child in children:
            child.join()


def test_a_closed_slide_says_so(tiled_tiff: Path) -> None:
    slide = open_slide(tiled_tiff)
    slide.close()
    with pytest.raises(SlideError, match="is closed"):
        slide.read((0, 0), 10, 10)


@pytest.mark.real_data
def test_a_real_slide_reads_as_openslide_reads_it(real_data: Path) -> None:
    path = real_data / "slides" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as oracle, open_slide(path) as slide:
        assert (slide.size_l0, slide.mpp) == ((2220, 2967), 0.499)
        expected = np.asarray(oracle.read_region((700, 900), 0, (300, 300)))[..., :3]
        np.testing.assert_array_equal(slide.read((700, 900), 300, 300), expected)
        assert min(slide.background) > 235
        whole = slide.read((0, 0), slide.size_l0, (222, 297))
        thumbnail = np.asarray(oracle.get_thumbnail((222, 297)))
        assert np.abs(whole.astype(int) - thumbnail).mean() < 4
