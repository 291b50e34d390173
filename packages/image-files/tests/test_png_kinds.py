"""Kinds of PNG are read exactly as their samples mean, or as they are stored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from image_files import ImageFileError, read_numbers, read_rgb

HEIGHT, WIDTH = 35, 50


@dataclass(frozen=True)
class Makers:
    """Functions that make files and oracles."""

    png: Callable[..., bytes]
    chunk: Callable[..., bytes]
    colours_of: Callable[..., Any]
    palette: NDArray[np.uint8]


@pytest.fixture
def make(
    png: Callable[..., bytes], chunk: Callable[..., bytes], colours_of: Callable[..., Any], palette: NDArray[np.uint8]
) -> Makers:
    return Makers(png, chunk, colours_of, palette)


@pytest.mark.parametrize(
    ("kind", "bits", "transparent_colour"),
    [
        *(("grey", bits, clear) for bits in (1, 2, 4, 8, 16) for clear in (False, True)),
        *(("palette", bits, clear) for bits in (1, 2, 4, 8) for clear in (False, True)),
        *(("rgb", bits, clear) for bits in (8, 16) for clear in (False, True)),
        *((kind, bits, False) for kind in ("grey+alpha", "rgb+alpha") for bits in (8, 16)),
    ],
)
def test_kinds_of_png(
    tmp_path: Path,
    kind: str,
    bits: int,
    transparent_colour: bool,
    make: Makers,
) -> None:
    channels = {"grey": 1, "palette": 1, "grey+alpha": 2, "rgb": 3, "rgb+alpha": 4}[kind]
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    samples = np.random.default_rng(bits).integers(0, 2**bits, shape).astype(np.uint16 if bits == 16 else np.uint8)
    clear = b""
    if transparent_colour and kind == "palette":
        clear = bytes([0, 128])
    elif transparent_colour:
        clear = np.atleast_1d(samples[0, 0])[: 1 if "grey" in kind else 3].astype(">u2").tobytes()
    path = tmp_path / "image.png"
    path.write_bytes(make.png(samples, bits, kind, *([make.chunk(b"tRNS", clear)] if clear else [])))
    if kind == "palette":
        table = np.c_[make.palette, np.full(256, 255)]
        table[: len(clear), 3] = list(clear)
        expected = make.colours_of(table[samples], 255)
    else:
        white = 2**bits - 1
        if clear:
            colours = np.atleast_3d(samples)
            opaque = (colours != samples[0, 0]).any(axis=2, keepdims=True)
            samples_on = np.concatenate([colours, opaque * white], axis=2)
        else:
            samples_on = samples
        expected = make.colours_of(samples_on, white)
    assert np.abs(read_rgb(path, allow_16_bits=True) - expected).max() <= 0.5
    if bits == 16:
        with pytest.raises(ImageFileError, match="wanted 8 bits a channel, got 16; convert it first"):
            read_rgb(path)
    if channels == 1:
        numbers = read_numbers(path)
        assert numbers.dtype == samples.dtype
        np.testing.assert_array_equal(numbers, samples)
    else:
        with pytest.raises(ImageFileError, match="wanted label numbers, one channel, got"):
            read_numbers(path)
