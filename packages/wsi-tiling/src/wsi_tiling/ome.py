"""What the description of an OME-TIFF file says of its first picture."""

from dataclasses import dataclass
from xml.etree import ElementTree

_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6} | {
    "Å": 1e-4,
    "in": 25_400.0,
    "micron": 1.0,
}


@dataclass(frozen=True)
class OmePicture:
    """The first picture of an OME-TIFF file.

    Attributes:
        channels: Colours or stains.
        names: Names of the channels, lower case, empty where there is none.
        planes: Planes in depth times planes in time.
        mpp: Micrometres a pixel across and down, as far as they are stated.
    """

    channels: int
    names: tuple[str, ...]
    planes: int
    mpp: tuple[float, ...]


def read_ome(description: str) -> OmePicture | None:
    """Reads a TIFF file's description; None if it is not that of an OME-TIFF file, or describes no picture.

    Raises:
        ValueError: The description begins as OME's do but is damaged.
    """
    if "<OME" not in description[:4096] and ":OME" not in description[:4096]:
        return None
    try:
        root = ElementTree.fromstring(description.encode())  # noqa: S314 - expat bounds what entities expand to
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # LookupError: in an encoding that nobody knows
        raise ValueError(f"its OME description is damaged: {error}") from error
    pixels = next((element for element in root.iter() if _name(element) == "Pixels"), None)
    if pixels is None:
        return None
    channels = [element for element in pixels if _name(element) == "Channel"]
    try:
        sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "CZT"}
        stated = [float(pixels.get(f"PhysicalSize{axis}", 0)) for axis in "XY"]
    except ValueError as error:
        raise ValueError(f"its OME description is damaged: {error}") from error
    units = [_MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0) for axis in "XY"]
    mpp = [value * unit for value, unit in zip(stated, units, strict=True)]
    return OmePicture(
        channels=sizes["C"],
        names=tuple(channel.get("Name", "").lower() for channel in channels),
        planes=sizes["Z"] * sizes["T"],
        mpp=tuple(value for value in mpp if value > 0),
    )


def _name(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rsplit("}")[-1]
