"""The header of an image file: size, channels, depth."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Colours = Literal["grey", "palette", "RGB"]
MAX_PX = 2**27
"""Images are read whole, into memory: larger ones (over 384 MiB as RGB), such as decompression bombs, are refused."""


class Departure(StrEnum):
    """How an image differs from plain 8-bit RGB, in words that follow '3 of 40 images'."""

    GREY = "are grey: read as three equal channels"
    TRANSPARENT = "have transparency: laid on white"
    DEEP = "have 16 bits a channel: brought to 8, with 65,535 as white"
    TURNED = "have an orientation tag: turned upright"
    SEVERAL = "hold further pictures: only the first is read"


@dataclass(frozen=True)
class ImageInfo:
    """The header of an image file.

    Attributes:
        format: 'PNG', 'JPEG', 'TIFF', 'WebP', 'BMP' or 'PNM'.
        stored_px: Width and height as stored.
        white: Value of white in a channel: 255 for 8 bits.
        colours: How the samples mean colours; None where they cannot be brought to RGB, as CMYK.
        alpha: Whether pixels can be transparent.
        premultiplied: Whether colours are multiplied by the opacity already.
        orientation: EXIF or TIFF orientation, 1 (upright as stored) to 8.
        further_pictures: Whether more images follow the first, such as the depth map of a phone's photo.
        problem: Why the image cannot be read as RGB; None if it can.
    """

    format: str
    stored_px: tuple[int, int]
    white: int = 255
    colours: Colours | None = "RGB"
    alpha: bool = False
    premultiplied: bool = False
    orientation: int = 1
    further_pictures: bool = False
    problem: str | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        width, height = self.stored_px
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def bits(self) -> int:
        """Bits a channel."""
        return self.white.bit_length()

    @property
    def departures(self) -> tuple[Departure, ...]:
        """How the image differs from plain 8-bit RGB."""
        applies = {
            Departure.GREY: self.colours == "grey",
            Departure.TRANSPARENT: self.alpha,
            Departure.DEEP: self.bits > 8 and self.colours != "palette",
            Departure.TURNED: self.orientation != 1,
            Departure.SEVERAL: self.further_pictures,
        }
        return tuple(departure for departure, is_so in applies.items() if is_so)
