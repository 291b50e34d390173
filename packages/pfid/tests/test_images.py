import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pfid.errors import ImageError
from pfid.images.folders import folder_images, open_picture
from pfid.images.sources import Image, Picture, array_images, note_compression, region_images

LANCZOS = PIL.Image.Resampling.LANCZOS


def noise(width: int, height: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    share=st.floats(0, 1),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_region_is_what_resizing_the_whole_picture_and_cropping_gives(
    width: int, height: int, share: float, corner: tuple[float, float]
) -> None:
    size_px = 32
    picture = noise(width, height)
    # Both sides shrink by one factor only where the picture is square: its largest square is looked at.
    side = min(width, height)
    square = picture[:side, :side]
    scale = size_px + round(share * (side - size_px))
    x, y = (round(part * (scale - size_px)) for part in corner)
    whole = np.asarray(PIL.Image.fromarray(square).resize((scale, scale), LANCZOS))
    region = Picture(square).read((x * side / scale, y * side / scale), size_px * side / scale, size_px)
    difference = np.abs(region.astype(int) - whole[y : y + size_px, x : x + size_px])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_whole_pixels_come_back_as_they_are() -> None:
    picture = noise(50, 40)
    np.testing.assert_array_equal(Picture(picture).read((7, 3), 30, 30), picture[3:33, 7:37])


def test_a_region_far_inside_a_large_picture_is_as_exact() -> None:
    picture = np.tile(noise(100, 100), (1, 90, 1))
    here, there = (Picture(picture).read((x + 3.3, 20.7), 41.7, 20) for x in (200, 8200))
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(("xy", "field"), [((-1.0, 0.0), 10.0), ((45.0, 0.0), 10.0), ((0.0, 0.0), 0.0)])
def test_a_region_that_leaves_the_picture_is_refused(xy: tuple[float, float], field: float) -> None:
    with pytest.raises(ImageError, match="50 x 40 px"):
        Picture(noise(50, 40)).read(xy, field, 8)


def test_a_folder_is_read_by_name_with_what_lies_below_it(tmp_path: Path) -> None:
    for number, name in enumerate(["b.png", "a/z.PNG", "a.bmp", ".hidden.png", ".git/c.png"]):
        save(noise(8, 6, number), tmp_path / name)
    (tmp_path / "readme.txt").write_text("no image")
    images = folder_images(tmp_path)
    assert images.names == ("a.bmp", "a/z.PNG", "b.png")
    assert images.sizes == ((8, 6),) * 3
    assert images.notes == ("files with other endings left out: 1 (.txt)",)
    assert [number for number, _ in images.whole()] == [0, 1, 2]
    np.testing.assert_array_equal(images.pixels(2), noise(8, 6, 0))


def test_grey_16_bit_and_transparent_images_are_read_and_told_of(tmp_path: Path) -> None:
    save(np.full((4, 4), 100, np.uint8), tmp_path / "grey.png")
    save(np.array([[0, 257, 65535, 25700]], np.uint16), tmp_path / "deep.png")
    clear = np.zeros((4, 5, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    save(clear, tmp_path / "clear.png")
    PIL.Image.fromarray(noise(4, 4)).quantize(8).save(tmp_path / "palette.png")
    images = folder_images(tmp_path)
    clear_read, deep, grey, _ = (pixels for _, pixels in images.whole())
    np.testing.assert_array_equal(grey, np.full((4, 4, 3), 100))
    np.testing.assert_array_equal(deep[0, :, 1], [0, 1, 255, 100])
    np.testing.assert_array_equal(clear_read[0, :2], [(10, 20, 30), (255, 255, 255)])
    told = "\n".join(images.notes)
    assert "2 of 4 images are grey" in told
    assert "1 of 4 images have 16 bits" in told
    assert "1 of 4 images have transparency" in told
    assert "images of 3 sizes: 4 x 1, 4 x 4, 5 x 4 px" in told


def test_colour_images_of_16_bits_are_brought_to_8_with_a_note(tmp_path: Path) -> None:
    deep = noise(8, 6).astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    tifffile.imwrite(tmp_path / "b.tif", deep, photometric="rgb")
    images = folder_images(tmp_path)
    for number in range(2):
        np.testing.assert_array_equal(images.pixels(number), noise(8, 6))
    assert images.notes == ("2 of 2 images have 16 bits a channel: brought to 8, with 65,535 as white",)


def test_photos_are_turned_upright_with_a_note(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(noise(64, 96)).save(tmp_path / "photo.jpg", exif=exif)
    save(noise(96, 64), tmp_path / "upright.png")
    images = folder_images(tmp_path)
    assert images.sizes == ((96, 64), (96, 64))
    assert images.notes == ("1 of 2 images have an orientation tag: turned upright",)
    assert open_picture(tmp_path / "photo.jpg").size == (96, 64)


def test_the_note_on_sizes_tells_them_apart(tmp_path: Path) -> None:
    for width, height in ((64, 96), (96, 64)):
        save(noise(width, height), tmp_path / f"{width}.png")
    assert folder_images(tmp_path).notes == ("images of 2 sizes: 64 x 96, 96 x 64 px",)
    for width, height in ((10, 200), (70, 71)):
        save(noise(width, height), tmp_path / f"{width}.png")
    assert folder_images(tmp_path).notes == ("images of 4 sizes: widths of 10 to 96 px, heights of 64 to 200 px",)


def test_linked_folders_are_entered(tmp_path: Path) -> None:
    for name in ("real/a/1.png", "elsewhere/2.png", "elsewhere/3.png"):
        save(noise(8, 8), tmp_path / name)
    (tmp_path / "real/b").symlink_to("../elsewhere")
    images = folder_images(tmp_path / "real")
    assert (images.names, images.notes) == (("a/1.png", "b/2.png", "b/3.png"), ())


def test_jpeg_on_one_side_only_is_noted(tmp_path: Path) -> None:
    for side, suffix in (("real", "png"), ("fake", "jpg")):
        for number in range(2):
            save(noise(8, 8, number), tmp_path / side / f"{number}.{suffix}")
    real, fake = folder_images(tmp_path / "real"), folder_images(tmp_path / "fake")
    assert (real.jpeg_share, fake.jpeg_share) == (0, 1)
    (note,) = note_compression(real, fake)[1].notes
    assert note.startswith("100% of these are JPEG files, 0% of the real images: metrics also measure the compression;")
    for side in (real, fake):
        assert note_compression(side, side)[1].notes == ()
    in_memory = array_images([noise(8, 8)])
    assert note_compression(in_memory, fake)[1] is fake


def test_unreadable_images_are_counted_and_refused_or_left_out(tmp_path: Path) -> None:
    save(noise(8, 8), tmp_path / "good.png")
    for number in range(7):
        (tmp_path / f"bad-{number}.png").write_bytes(b"nothing of the kind")
    with pytest.raises(ImageError, match=r"^7 of 8 images cannot be read: .*bad-0.*; and 2 more$"):
        folder_images(tmp_path)
    images = folder_images(tmp_path, skip_unreadable=True)
    assert images.names == ("good.png",)
    assert images.notes[0].startswith("7 of 8 images left out")


def test_images_cut_short_are_all_named_once_the_others_are_read(tmp_path: Path) -> None:
    for number in range(4):
        save(noise(60, 60, number), tmp_path / f"{number}.png")
    for number in (1, 2):
        path = tmp_path / f"{number}.png"
        path.write_bytes(path.read_bytes()[:3000])
    read = []
    with pytest.raises(ImageError, match=r"2 of 4 images cannot be read: .*1\.png is damaged.*2\.png is damaged"):
        read.extend(number for number, _ in folder_images(tmp_path).whole())
    assert read == [0, 3]
    assert len(list(folder_images(tmp_path, skip_unreadable=True).whole())) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in it"):
        folder_images(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        folder_images(tmp_path / "nowhere")
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ImageError, match="1 of 1 images cannot be read"):
        folder_images(tmp_path, skip_unreadable=True)


def test_32_bit_images_are_refused(tmp_path: Path) -> None:
    save(np.zeros((4, 4), np.float32), tmp_path / "deep.tiff")
    with pytest.raises(ImageError, match="got 32"):
        folder_images(tmp_path)


def test_arrays_are_images_and_travel_to_other_processes() -> None:
    images = array_images(np.stack([noise(8, 8, 1), noise(8, 8, 2)]))
    assert images.names == ("000000", "000001")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)).pixels(1), noise(8, 8, 2))  # noqa: S301
    with pytest.raises(ImageError, match=r"\(H, W, 3\)"):
        array_images([np.zeros((4, 4), np.uint8)])
    with pytest.raises(ImageError, match="got none"):
        array_images([])


class Striped:
    """A picture that is read by region only."""

    def __init__(self, path: Path) -> None:
        self.path, self.closed = path, False

    @property
    def size(self) -> tuple[int, int]:
        return 100, 80

    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        return np.full((size_px, size_px, 3), int(xy[0]), np.uint8)


def test_anything_read_by_region_can_be_measured_but_not_whole(tmp_path: Path) -> None:
    images = region_images([tmp_path / "a.svs", str(tmp_path / "b.svs")], Striped)
    assert images.names == ("a.svs", "b.svs")
    assert images.sizes == ((100, 80),) * 2
    assert images.source(1).read((5, 0), 10, 4).shape == (4, 4, 3)
    with pytest.raises(ImageError, match=r"a\.svs is read by region"):
        images.pixels(0)
    with pytest.raises(ImageError, match=r"same\.svs more than once"):
        region_images([tmp_path / "x" / "same.svs", tmp_path / "y" / "same.svs"], Striped)


def test_a_picture_is_read_alone(tmp_path: Path) -> None:
    save(noise(9, 7), tmp_path / "one.png")
    assert open_picture(tmp_path / "one.png").size == (9, 7)
