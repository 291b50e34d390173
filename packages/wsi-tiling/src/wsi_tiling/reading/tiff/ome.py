"""Descriptions of images in OME-TIFF and ImageJ files."""

from dataclasses import dataclass
from xml.etree import ElementTree

_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6} | {
    "Å": 1e-4,
    "in": 25_400.0,
    "micron": 1.0,
}
_RED_GREEN_BLUE = (0xFF0000FF, 0x00FF00FF, 0x0000FFFF)


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-TIFF file.

    Attributes:
        name: Its name, empty if it has none.
        size_px: Width and height; 0 where they are not stated.
        first_directory: Number of the first of its directories in the file's main chain.
        samples: Colours or stains, all channels together.
        names: Names of the channels, lower case, empty where there is none.
        coloured: Whether the channels' colours are stated and are not red, green and blue, in this order.
        planes: Planes in depth times planes in time.
        mpp: Micrometres a pixel across and down, as far as they are stated.
    """

    name: str
    size_px: tuple[int, int]
    first_directory: int
    samples: int
    names: tuple[str, ...]
    coloured: bool
    planes: int
    mpp: tuple[float, ...]


@dataclass(frozen=True)
class ImageJStack:
    """ImageJ's description of a file's images.

    Attributes:
        channels: Colours or stains, one image each.
        planes: Planes in depth times planes in time.
    """

    channels: int
    planes: int


def read_ome(description: str) -> tuple[OmeImage, ...]:
    """Reads the description of a TIFF file, in its order; empty if it is not that of an OME-TIFF file.

    The description is text already, so the encoding that it declares plays no part.

    Raises:
        ValueError: The description begins as OME's do but is damaged.
    """
    if "<OME" not in description[:4096] and ":OME" not in description[:4096]:
        return ()
    if "<!DOCTYPE" in description or "<!ENTITY" in description:  # OME has none; entities can be made to grow
        raise ValueError("its OME description is damaged: it declares entities")
    try:
        root = ElementTree.fromstring(description.strip("\ufeff \t\r\n"))  # noqa: S314 - without entities
        images = [element for element in root.iter() if _name(element) == "Image"]
        return tuple(
            _picture(image.get("Name", ""), pixels)
            for image in images or [root]
            for pixels in image.iter()
            if _name(pixels) == "Pixels"
        )
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"its OME description is damaged: {error}") from error


def read_imagej(description: str) -> ImageJStack | None:
    """Reads the description of a TIFF file that ImageJ wrote; None if it is another's, or of one image."""
    if not description.startswith("ImageJ="):
        return None
    values = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
    images, channels, slices, frames = (
        int(values[name]) if values.get(name, "").strip().isdecimal() else 1
        for name in ("images", "channels", "slices", "frames")
    )
    planes = max(slices * frames, images // max(channels, 1))
    return ImageJStack(channels, planes) if channels > 1 or planes > 1 else None


def _picture(name: str, pixels: ElementTree.Element) -> OmeImage:
    channels = [element for element in pixels if _name(element) == "Channel"]
    places = [element for element in pixels if _name(element) == "TiffData"]
    sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "CZT"}
    stated = [float(pixels.get(f"PhysicalSize{axis}", 0)) for axis in "XY"]
    units = [_MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0) for axis in "XY"]
    colours = [int(channel.get("Color", 0)) % 2**32 for channel in channels if "Color" in channel.attrib]
    return OmeImage(
        name=name,
        size_px=(int(pixels.get("SizeX", 0)), int(pixels.get("SizeY", 0))),
        first_directory=min((int(place.get("IFD", 0)) for place in places), default=0),
        samples=sizes["C"],
        names=tuple(channel.get("Name", "").lower() for channel in channels),
        coloured=len(colours) == len(channels) > 1 and tuple(colours) != _RED_GREEN_BLUE,
        planes=sizes["Z"] * sizes["T"],
        mpp=tuple(value * unit for value, unit in zip(stated, units, strict=True) if value * unit > 0),
    )


def _name(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rsplit("}")[-1]
