"""Which of a TIFF file's pictures is the slide, what its samples mean, and what is noted or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from wsi_tiling import (
    ArraySlide,
    Image,
    Slide,
    SlideError,
    SlideSetAside,
    TileField,
    TileSettings,
    TissueRule,
    open_slide,
    tile_slides,
)
from wsi_tiling.reading.formats.openslide_slide import _stated_mpp as stated_by_openslide
from wsi_tiling.reading.mpp import believable_mpp
from wsi_tiling.reading.tiff.ome import read_imagej, read_ome
from wsi_tiling.region import block_mean

TILED = {"tile": (64, 64), "photometric": "rgb"}
GREY = {"tile": (64, 64), "photometric": "minisblack"}


@pytest.fixture(scope="module")
def scan(picture: Image) -> Image:
    return np.ascontiguousarray(picture[:150, :200])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slide.tif"


def whole(slide: Slide) -> Image:
    return slide.read((0, 0), slide.size_l0, slide.size_l0)


def ome_label_first(path: Path, scan: Image, **metadata: Any) -> None:
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(np.full((40, 60, 3), 240, np.uint8), metadata={"Name": "label"}, **TILED)
        tiff.write(
            scan, subifds=1, metadata={"Name": "scan", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25} | metadata, **TILED
        )
        tiff.write(block_mean(scan, (2, 2)), subfiletype=1, **TILED)


def test_the_largest_of_several_ome_pictures_is_the_slide_with_its_own_scale(path: Path, scan: Image) -> None:
    ome_label_first(path, scan)
    with open_slide(path) as slide:
        assert slide.levels == ((200, 150), (100, 75))
        assert slide.mpp == 0.25
        np.testing.assert_array_equal(whole(slide), scan)
        assert slide.notes == (
            "the slide is image 2 of 2 in the file, the largest",
            "1 other image in the file left out: 60 x 40 px",
        )


def test_a_stack_beside_the_largest_picture_does_not_matter_but_as_the_largest_it_does(path: Path, scan: Image) -> None:
    for small, large in ((1, 1), (3, 1), (1, 3)):
        with tifffile.TiffWriter(path, ome=True) as tiff:
            for side, planes in ((60, small), (150, large)):
                stack = np.stack([scan[:side, :side]] * planes)
                tiff.write(stack, metadata={"axes": "ZYXS"}, **TILED)
        if large == 1:
            with open_slide(path) as slide:
                np.testing.assert_array_equal(whole(slide), scan[:150, :150])
        else:
            with pytest.raises(SlideError, match="wanted one plane, got 3 in depth or time"):
                open_slide(path)


def test_two_colour_channels_of_an_ome_picture_are_refused(path: Path, scan: Image) -> None:
    tifffile.imwrite(path, np.stack([scan, scan]), ome=True, metadata={"axes": "CYXS"}, **TILED)
    with pytest.raises(SlideError, match="wanted red, green and blue, got 6 channels"):
        open_slide(path)


def test_channels_whose_colours_are_not_red_green_and_blue_are_refused(path: Path, scan: Image) -> None:
    planes = np.ascontiguousarray(np.moveaxis(scan, 2, 0))
    red, green, blue, cyan = -16776961, 16711935, 65535, 16777215
    for colours, good in (((red, green, blue), True), ((cyan, green, blue), False)):
        metadata = {"axes": "CYX", "Channel": {"Color": list(colours)}}
        tifffile.imwrite(path, planes, ome=True, metadata=metadata, **GREY)
        if good:
            with open_slide(path) as slide:
                np.testing.assert_array_equal(whole(slide), scan)
                assert slide.notes == ("the three unnamed channels are taken as red, green and blue",)
        else:
            with pytest.raises(SlideError, match="wanted red, green and blue"):
                open_slide(path)


def test_an_ome_description_of_another_picture_is_not_used(path: Path, scan: Image) -> None:
    tifffile.imwrite(path, scan, ome=True, metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25})
    text = tifffile.tiffcomment(path)
    tifffile.imwrite(path, scan[:100], description=text.encode(), metadata=None, **TILED)
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert slide.notes == ("the OME description is of other images (200 x 150 px): it is not used",)


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        ("CYX", (3, 150, 200), "got 3 channels of ImageJ: save it as a colour image"),
        ("ZYX", (4, 150, 200), "wanted one plane, got 4"),
        ("TZCYX", (2, 2, 2, 150, 200), "wanted one plane, got 4"),
    ],
)
def test_stacks_and_channels_of_imagej_are_refused(path: Path, axes: str, shape: tuple[int, ...], message: str) -> None:
    tifffile.imwrite(path, np.zeros(shape, np.uint8), imagej=True, metadata={"axes": axes})
    with pytest.raises(SlideError, match=message):
        open_slide(path)


def test_a_colour_or_grey_picture_of_imagej_is_read(path: Path, scan: Image) -> None:
    for image in (scan, scan[..., 0]):
        tifffile.imwrite(path, image, imagej=True)
        with open_slide(path) as slide:
            np.testing.assert_array_equal(whole(slide), np.broadcast_to(image.reshape(150, 200, -1), (150, 200, 3)))


@pytest.mark.parametrize(("separate", "tile"), [(False, True), (False, False), (True, True), (True, False)])
@pytest.mark.parametrize("samples", [2, 3, 4])
def test_grey_with_samples_of_unknown_meaning_is_refused(
    path: Path, scan: Image, samples: int, separate: bool, tile: bool
) -> None:
    image = np.repeat(scan[..., :1], samples, axis=2)
    tifffile.imwrite(
        path,
        np.moveaxis(image, 2, 0).copy() if separate else image,
        photometric="minisblack",
        planarconfig="separate" if separate else "contig",
        tile=(64, 64) if tile else None,
        metadata=None,
    )
    with pytest.raises(SlideError, match=f"marked as grey .* has {samples} samples a pixel, .* save it as an RGB"):
        open_slide(path)


def test_grey_pictures_of_one_size_are_channels_or_planes(path: Path, scan: Image) -> None:
    tifffile.imwrite(path, np.moveaxis(scan, 2, 0).copy(), **GREY)
    with pytest.raises(SlideError, match="wanted one image, got 3 grey ones of 200 x 150 px"):
        open_slide(path)


@pytest.mark.parametrize("tile", [(64, 64), None])
def test_a_fourth_sample_of_unknown_meaning_is_opacity(path: Path, scan: Image, tile: tuple[int, int] | None) -> None:
    rgba = np.dstack([scan, np.full(scan.shape[:2], 255, np.uint8)])
    rgba[:, :30] = 0
    for extra in (["unspecified"], None):
        options = {} if extra is None else {"extrasamples": extra}
        tifffile.imwrite(path, rgba, photometric="rgb", tile=tile, metadata=None, **options)
        if extra is None:  # the tag that says so is missing altogether
            with tifffile.TiffFile(path, mode="r+") as tiff:
                tiff.pages.first.tags["ExtraSamples"].overwrite(0)
        with open_slide(path, background=(242, 243, 242)) as slide:
            image = whole(slide)
            assert slide.notes == ("a pixel's fourth sample is taken as opacity, which the file does not say",)
        assert (image[:, :30] == (242, 243, 242)).all()
        np.testing.assert_array_equal(image[:, 30:], scan[:, 30:])


def test_opacity_is_found_behind_samples_of_unknown_meaning(path: Path, scan: Image) -> None:
    five = np.dstack([scan, scan[..., :1], np.full(scan.shape[:2], 255, np.uint8)])
    five[:, :30, 4] = 0
    tifffile.imwrite(path, five, photometric="rgb", extrasamples=["unspecified", "unassalpha"], metadata=None)
    with open_slide(path, background=(1, 2, 3)) as slide:
        image = whole(slide)
        assert slide.notes == ("1 of 5 samples a pixel left out: the file does not say what they are",)
    assert (image[:, :30] == (242, 243, 242)).all()
    np.testing.assert_array_equal(image[:, 30:], scan[:, 30:])


def test_grey_with_marked_opacity_is_read(path: Path, scan: Image) -> None:
    image = np.dstack([scan[..., 0], np.full(scan.shape[:2], 255, np.uint8)])
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide)[..., 1], scan[..., 0])
        assert slide.notes == ()


def test_a_mask_of_half_the_size_is_no_level(path: Path, scan: Image) -> None:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scan, metadata=None, **TILED)
        tiff.write(np.zeros((75, 100), np.uint8), metadata=None, **GREY)  # such as labels of nuclei
        tiff.write(np.zeros((75, 100), np.uint16), metadata=None, subfiletype=1, **GREY)
        tiff.write(np.zeros((75, 100), bool), metadata=None, photometric="mask", subfiletype=5)
        tiff.write(block_mean(scan, (2, 2)), metadata=None, **TILED)
        tiff.write(block_mean(scan, (2, 2))[::-1].copy(), metadata=None, subfiletype=1, **TILED)
    with open_slide(path) as slide:
        assert slide.levels == ((200, 150), (100, 75))
        np.testing.assert_array_equal(slide._pixels(1, 0, 0, 100, 75), block_mean(scan, (2, 2)))
        assert slide.notes == (
            "4 other images in the file left out: 100 x 75 px, 100 x 75 px, 100 x 75 px (a mask), 100 x 75 px",
        )


def test_a_pyramid_alone_is_not_noted(path: Path, scan: Image) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for step in (1, 2, 4):
            tiff.write(block_mean(scan, (step, step)), metadata=None, subfiletype=min(step - 1, 1), **TILED)
    with open_slide(path) as slide:
        assert slide.levels == ((200, 150), (100, 75), (50, 38))
        assert slide.notes == ()


def test_levels_may_come_before_the_slide(path: Path, scan: Image) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for step in (2, 1):
            tiff.write(block_mean(scan, (step, step)), metadata=None, subfiletype=step - 1, **TILED)
    with open_slide(path) as slide:
        assert slide.levels == ((200, 150), (100, 75))
        np.testing.assert_array_equal(whole(slide), scan)


def test_what_only_openslide_decodes_is_not_replaced_by_another_picture(path: Path, scan: Image) -> None:
    ink = np.concatenate([255 - scan, np.zeros_like(scan[..., :1])], axis=2)
    options = {"photometric": "separated", "tile": (64, 64), "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scan[:40, :60].copy(), metadata=None, **TILED)
        tiff.write(ink, **options)
    with pytest.raises(SlideError, match="photometric 5"):
        open_slide(path)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(ink, **options)
        tiff.write(scan[:40, :60].copy(), metadata=None, **TILED)
    with open_slide(path) as slide:
        np.testing.assert_allclose(whole(slide), scan, atol=1)


@pytest.mark.parametrize("tile", [(64, 64), None])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_turned(
    path: Path, scan: Image, orientation: int, tile: tuple[int, int] | None
) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for image in (scan, block_mean(scan, (2, 2))):
            options = {"photometric": "rgb", "tile": tile, "metadata": None}
            tiff.write(image, extratags=[(274, 3, 1, orientation)], subfiletype=int(image is not scan), **options)
    picture = PIL.Image.fromarray(scan)
    picture.getexif()[274] = orientation
    exif = picture.getexif()
    exif[274] = orientation
    picture.info["exif"] = exif.tobytes()
    upright = np.asarray(PIL.ImageOps.exif_transpose(picture))
    with open_slide(path) as slide:
        assert slide.size_l0 == (upright.shape[1], upright.shape[0])
        np.testing.assert_array_equal(whole(slide), upright)
        np.testing.assert_array_equal(slide.read((7, 20), (90, 70), (90, 70)), upright[20:90, 7:97])
        smaller = slide._pixels(1, 0, 0, *slide.levels[1])
        np.testing.assert_allclose(smaller, block_mean(upright, (2, 2)), atol=1)


def test_an_orientation_that_makes_no_sense_is_refused(path: Path, scan: Image) -> None:
    tifffile.imwrite(path, scan, extratags=[(274, 3, 1, 9)], metadata=None, **TILED)
    with pytest.raises(SlideError, match="orientation is 9"):
        open_slide(path)
    tifffile.imwrite(path, scan, extratags=[(274, 3, 1, 0)], metadata=None, **TILED)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), scan)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_either_byte_order_is_read(path: Path, scan: Image, byteorder: str, bigtiff: bool) -> None:
    options = {"byteorder": byteorder, "bigtiff": bigtiff, "compression": "zlib", "predictor": True}
    tifffile.imwrite(path, scan, resolution=(2e4, 2e4), resolutionunit="CENTIMETER", **options, **TILED)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), scan)
        assert slide.mpp == 0.5


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_less_than_eight_bits_are_refused_by_their_number(path: Path, bits: int) -> None:
    if bits == 1:
        PIL.Image.fromarray(np.zeros((50, 60), bool)).save(path)
    else:
        tifffile.imwrite(path, np.zeros((50, 60), np.uint8), metadata=None)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages.first.tags["BitsPerSample"].overwrite(bits)
    with pytest.raises(SlideError, match=f"1 samples of {bits} bits"):
        open_slide(path)


OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    'DimensionOrder="XYCZT" Type="uint8" SizeX="200" SizeY="150" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" '
    'PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm"><TiffData/></Pixels></Image></OME>'
)


@pytest.mark.parametrize(
    ("start", "coding"),
    [
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-8"),
        ('<?xml version="1.0" encoding="nobody-knows"?>', "utf-8"),
        ('\r\n <?xml version="1.0" encoding="UTF-8"?>', "utf-8"),
        ('\ufeff<?xml version="1.0"?>', "utf-8"),
        ('<?xml version="1.0" encoding="UTF-8"?>', "cp1252"),
        ("<!-- a comment -->", "utf-8"),
    ],
)
def test_an_ome_description_is_text_whatever_it_declares(path: Path, scan: Image, start: str, coding: str) -> None:
    tifffile.imwrite(path, scan, description=(start + OME).encode(coding), metadata=None, **TILED)
    with open_slide(path) as slide:
        assert slide.mpp == 0.5


@pytest.mark.parametrize("size", ["-0.5", "0", "inf", "nan"])
def test_an_impossible_scale_of_ome_is_unknown(path: Path, scan: Image, size: str) -> None:
    tifffile.imwrite(path, scan, description=OME.replace('"0.5"', f'"{size}"').encode(), metadata=None, **TILED)
    with open_slide(path) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize("entity", ['<!DOCTYPE OME [<!ENTITY a "b">]>', '<!DOCTYPE OME SYSTEM "file:///etc/passwd">'])
def test_an_ome_description_with_entities_is_refused(entity: str) -> None:
    with pytest.raises(ValueError, match="OME description is damaged: it declares entities"):
        read_ome('<?xml version="1.0"?>' + entity + OME)


def test_other_descriptions_are_not_those_of_ome_or_imagej() -> None:
    assert read_ome("a scan") == ()
    assert read_imagej("a scan") is None
    assert read_imagej("ImageJ=1.54f\nimages=1\nchannels=x\n") is None


@pytest.mark.parametrize(
    ("values", "mpp"),
    [
        ([0.5, 0.5], 0.5),
        ([0.50, 0.51], 0.505),
        ([0.5], 0.5),
        ([], None),
        ([0.0, 0.5], 0.5),
        ([float("nan"), 0.5], 0.5),
        ([25.4, 25.4], None),
        ([0.7, 0.3], None),
        ([0.5, 25.0], None),
        ([0.50, 0.54], None),
    ],
)
def test_a_scale_is_one_number_or_unknown(values: list[float], mpp: float | None) -> None:
    stated = believable_mpp(values)
    assert stated.mpp == (None if mpp is None else pytest.approx(mpp))
    assert (stated.reason is not None) == (mpp is None and len(values) == 2 and min(values) < 20)


def test_oblong_pixels_have_no_scale_and_the_slide_says_so(path: Path, picture: Image) -> None:
    resolution = {"resolution": (1e4 / 0.7, 1e4 / 0.3), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, picture, **resolution, **TILED)
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert slide.notes == ("the file states pixels of 0.7 x 0.3 um, which are no squares: its scale is not taken",)
        with pytest.raises(SlideError, match=r"slide\.tif states pixels of 0\.7 x 0\.3 um, .*: pass mpp"):
            slide.require_mpp()
    with open_slide(path, mpp=0.5) as slide:
        assert slide.require_mpp() == 0.5
    settings = TileSettings((TileField(64),), TissueRule.everything(), wanted_mpp=0.499)
    (event,) = tile_slides([path], settings, path.parent / "tiles")
    assert isinstance(event, SlideSetAside)
    assert event.trouble == "unknown scale"


def test_a_scale_that_openslide_passes_on_as_text_may_be_no_number() -> None:
    names = [f"openslide.mpp-{axis}" for axis in "xy"]
    assert stated_by_openslide(dict.fromkeys(names, "0.25")).mpp == 0.25
    stated = stated_by_openslide(dict.fromkeys(names, "0,25"))
    assert stated.mpp is None
    assert stated.reason == "states a scale that is no number, 0,25 x 0,25"


def test_facts_pass_to_a_slide_held_in_memory(path: Path, scan: Image) -> None:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scan, photometric="rgb", metadata=None, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
        tiff.write(scan[:40, :60].copy(), photometric="rgb", metadata=None)
    slide = open_slide(path)
    assert isinstance(slide, ArraySlide)
    assert slide.mpp == 0.5
    assert slide.notes == ("1 other image in the file left out: 60 x 40 px",)
