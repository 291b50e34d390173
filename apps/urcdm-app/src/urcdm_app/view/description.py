"""What a slide's file tells about how the picture was made, in words for people."""

import warnings
from pathlib import Path

import openslide
import PIL.Image

_TIFF_DESCRIPTION = 270
_FOR_PROGRAMS = ("<", "{")
"""How descriptions begin that are XML or JSON: OME's, and what tifffile notes for itself."""


def read_objective_power(path: Path) -> float | None:
    """Reads the power of the objective that the file states, such as 20; None if it states none."""
    try:
        power = float(_openslide_properties(path).get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, "nan"))
    except ValueError:
        return None
    return power if 0 < power < float("inf") else None


def read_description(path: Path) -> str:
    """Reads what the file says of its making, one statement a line; empty if it says nothing, or only to programs.

    OpenSlide tells it of the formats that it knows; of other pictures it is the TIFF description, the PNG text
    'Description' or the JPEG comment.
    """
    properties = _openslide_properties(path)
    text = properties.get("aperio.Description") or properties.get(openslide.PROPERTY_NAME_COMMENT, "")
    if properties.get(openslide.PROPERTY_NAME_VENDOR) == "aperio":
        text = text.replace("|", "\n").replace(";", "\n")
    if not properties:
        text = _picture_text(path)
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(line for line in lines if line)
    return "" if text.startswith(_FOR_PROGRAMS) else text


def _openslide_properties(path: Path) -> dict[str, str]:
    """What OpenSlide knows of a file; nothing if it does not know the format, or opens less than others do."""
    try:
        with openslide.OpenSlide(path) as slide:
            return dict(slide.properties)
    except openslide.OpenSlideError:
        return {}


def _picture_text(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures, but here reads no pixel
            with PIL.Image.open(path) as picture:
                stated = picture.getexif().get(_TIFF_DESCRIPTION)
                text = stated or picture.info.get("Description") or picture.info.get("comment") or ""
    # What Pillow cannot open may still be a slide; it then has no description.
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
