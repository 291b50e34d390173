"""Every kind of file is read equal to what was written in it, or refused with a reason; none is silently different."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from image_files import ImageFileError, read_numbers, read_rgb

ColoursOf = Callable[..., Any]

HEIGHT, WIDTH = 35, 50
LOSSLESS = (None, "lzw", "zlib", "packbits", "zstd", "lzma")
IMAGE_CODECS = ("jpeg", "jpeg2000", "webp")
ALPHA = {"unassalpha": "straight", "assocalpha": "premultiplied", "unspecified": "refused"}


@dataclass(frozen=True)
class TiffCase:
    """One kind of TIFF file."""

    photometric: str
    bits: int
    channels: int
    alpha: str | None
    planar: str
    compression: str | None
    byte_order: Literal["<", ">"]
    tile: bool
    predictor: bool

    @property
    def dtype(self) -> Any:
        return np.dtype(f"{self.byte_order}u{max(1, self.bits // 8)}")

    def samples(self) -> NDArray[Any]:
        """Random samples, (H, W) or (H, W, C)."""
        rng = np.random.default_rng(self.bits * 10 + self.channels)
        shape = (HEIGHT, WIDTH) if self.channels == 1 else (HEIGHT, WIDTH, self.channels)
        samples = rng.integers(0, 2**self.bits, shape)
        return samples > 0 if self.bits == 1 else samples.astype(self.dtype.newbyteorder("="))

    def write(self, path: Path, palette: NDArray[np.uint8]) -> bool:
        """Writes the file; False if tifffile cannot write this kind."""
        if self.compression == "jpeg2000" and self.bits == 32:  # its writer keeps 26 of the bits
            return False
        samples = self.samples()
        separate = self.planar == "separate" and self.channels > 1
        options: dict[str, Any] = {
            "photometric": self.photometric,
            "planarconfig": self.planar if self.channels > 1 else None,
            "compression": self.compression,
            "extrasamples": [self.alpha] if self.alpha else None,
            "tile": (16, 32) if self.tile else None,
            "predictor": self.predictor,
            "bitspersample": self.bits if self.bits < 8 else None,
            "rowsperstrip": None if self.tile else 16,
            "compressionargs": {"lossless": True} if self.compression == "webp" else None,
            "metadata": None,
        }
        if self.photometric == "palette":
            options["colormap"] = (palette[: 2**self.bits].T.astype(np.uint16)) * 257
        try:
            with tifffile.TiffWriter(path, byteorder=self.byte_order) as tiff:
                tiff.write(np.moveaxis(samples, 2, 0) if separate else samples, **options)
        except (ValueError, NotImplementedError, RuntimeError, KeyError, TypeError):
            return False
        return True

    def stored(self, path: Path) -> NDArray[Any]:
        """What tifffile reads, (H, W) or (H, W, C); without loss, it is what was written."""
        stored = tifffile.imread(path)
        if self.planar == "separate" and self.channels > 1:
            stored = np.moveaxis(stored, 0, 2)
        if self.compression not in IMAGE_CODECS:
            np.testing.assert_array_equal(stored, self.samples())
        return stored


def tiff_cases(*, thorough: bool) -> Iterator[TiffCase]:
    """All kinds; or those in which one thing departs from a plain file, which are few."""
    kinds = [
        *(("minisblack", bits, 1, None) for bits in (1, 2, 4, 8, 16, 32)),
        *(("miniswhite", bits, 1, None) for bits in (1, 4, 8, 16, 32)),
        *(("minisblack", bits, 2, alpha) for bits in (8, 16) for alpha in ALPHA),
        *(("miniswhite", 8, 2, alpha) for alpha in ALPHA),
        *(("palette", bits, 1, None) for bits in (4, 8, 16)),
        *(("rgb", bits, 3, None) for bits in (8, 16, 32)),
        *(("rgb", bits, 4, alpha) for bits in (8, 16) for alpha in ALPHA),
        *((photometric, 8, 3, None) for photometric in ("ycbcr", "cielab", "minisblack")),
        *((photometric, 8, 4, None) for photometric in ("separated", "rgb")),
        ("rgb", 8, 5, None),
    ]
    layouts = itertools.product(
        ("contig", "separate"), (*LOSSLESS, *IMAGE_CODECS), ("<", ">"), (False, True), (False, True)
    )
    plain = ("contig", None, "<", False, False)
    layout: Any
    for layout in layouts:
        changes = sum(value != usual for value, usual in zip(layout, plain, strict=True))
        for kind in kinds:
            if thorough or changes == 0 or (changes == 1 and kind in (kinds[3], kinds[4], kinds[-9], kinds[15])):
                yield TiffCase(*kind, *layout)


def check_tiff(case: TiffCase, path: Path, palette: NDArray[np.uint8], colours_of: ColoursOf) -> str | None:
    """Checks both readers with a kind of file; 'read' or 'refused', None if there is no such file."""
    if not case.write(path, palette):
        return None
    stored = case.stored(path)
    white = 255 if case.photometric == "palette" else 2**case.bits - 1
    try:
        got = read_rgb(path, allow_16_bits=True).astype(float)
    except ImageFileError:
        outcome = "refused"
        readable = case.photometric in ("minisblack", "miniswhite", "rgb", "palette") and case.bits <= 16
        if case.compression in LOSSLESS and case.alpha != "unspecified" and (case.channels < 5):
            plain = case.channels in ((3, 4) if case.photometric == "rgb" else (1, 2))
            assert not (readable and plain and (case.alpha or case.channels in (1, 3))), case
    else:
        outcome = "read"
        assert case.photometric not in ("cielab", "separated")
        if case.photometric == "palette":
            expected = palette[stored.astype(int)]
        else:
            inverted = case.photometric == "miniswhite"
            expected = colours_of(stored, white, inverted=inverted, premultiplied=case.alpha == "assocalpha")
        assert np.abs(got - expected).max() <= 0.5, case
        if case.compression == "jpeg" and case.channels == 3:
            with PIL.Image.open(path) as picture:
                assert np.abs(got - np.asarray(picture)).max() <= 4, case
        if case.bits > 8 and case.photometric != "palette":
            with pytest.raises(ImageFileError, match=f"wanted 8 bits a channel, got {case.bits}; convert it first"):
                read_rgb(path)
    try:
        numbers = read_numbers(path)
    except ImageFileError:
        assert case.channels > 1 or case.compression in IMAGE_CODECS, case
    else:
        assert case.channels == 1
        np.testing.assert_array_equal(numbers, stored)
        assert numbers.dtype.isnative
        assert numbers.dtype.kind == "u"
    return outcome


def check_tiffs(folder: Path, palette: NDArray[np.uint8], colours_of: ColoursOf, *, thorough: bool) -> dict[str, int]:
    counts = {"read": 0, "refused": 0}
    for number, case in enumerate(tiff_cases(thorough=thorough)):
        outcome = check_tiff(case, folder / f"{number}.tif", palette, colours_of)
        if outcome:
            counts[outcome] += 1
    return counts


def test_kinds_of_tiff_are_read_exactly_or_refused(
    tmp_path: Path, palette: NDArray[np.uint8], colours_of: ColoursOf
) -> None:
    counts = check_tiffs(tmp_path, palette, colours_of, thorough=False)
    assert counts["read"] > 40
    assert counts["refused"] > 10


@pytest.mark.thorough
def test_all_kinds_of_tiff_are_read_exactly_or_refused(
    tmp_path: Path, palette: NDArray[np.uint8], colours_of: ColoursOf
) -> None:
    counts = check_tiffs(tmp_path, palette, colours_of, thorough=True)
    assert counts["read"] > 400
    assert counts["refused"] > 100
