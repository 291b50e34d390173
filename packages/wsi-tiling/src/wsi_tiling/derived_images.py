"""PNG images that are made of slides, marked so that no run takes them for slides."""

import io
import os
from pathlib import Path

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from wsi_tiling.region import Image

_KEY = "wsi-tiling"
_TEXT = "picture of a slide"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 4096


def derived_png(image: Image, description: str = "") -> bytes:
    """Encodes an overview or a preview of a slide as PNG, with a text in the file that marks it as no slide.

    Args:
        image: (H, W, 3) uint8.
        description: Further text to keep in the file.
    """
    mark = PngInfo()
    mark.add_text(_KEY, _TEXT)
    if description:
        mark.add_text("Description", description)
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(stream, "PNG", pnginfo=mark)
    return stream.getvalue()


def is_derived_png(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PNG that `derived_png` marked; False if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    if not head.startswith(_SIGNATURE):
        return False
    place = len(_SIGNATURE)
    while place + 8 <= len(head):
        length, kind = int.from_bytes(head[place : place + 4], "big"), head[place + 4 : place + 8]
        if kind == b"IDAT":
            return False
        if kind == b"tEXt" and head[place + 8 : place + 8 + length] == f"{_KEY}\0{_TEXT}".encode():
            return True
        place += 12 + length
    return False
