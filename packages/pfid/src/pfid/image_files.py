"""Pictures in folders, read whole by Pillow."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image

from pfid.errors import ImageError
from pfid.images import LANCZOS, Image, Images, Picture, listed, unreadable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""How the names of a folder's images end, in small or capital letters."""
MAX_PICTURE_PX = 2**27
"""Pictures are read into memory: larger ones (more than 384 MiB) are refused."""


def folder_images(folder: str | Path, *, skip_unreadable: bool = False) -> Images:
    """The images in a folder and the folders below it, by name; each is read when it is needed.

    Grey images become three equal channels, 16-bit ones are brought to 8 with 65,535 as white, what is transparent is
    laid on white; the notes say how many were. Hidden files, and those whose names do not end as images' do, are none.

    Args:
        folder: The folder.
        skip_unreadable: Leaves unreadable images out, with a note, instead of refusing the folder.

    Raises:
        ImageError: There is no such folder, no image in it, or unreadable ones.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder")
    parts = ((path, path.relative_to(folder)) for path in folder.rglob("*"))
    paths = {
        inside.as_posix(): path
        for path, inside in parts
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in inside.parts) and path.is_file()
    }
    if not paths:
        raise ImageError(f"{folder}: no images in it (names ending in {', '.join(SUFFIXES)})")
    sizes: dict[str, tuple[int, int]] = {}
    kinds: Counter[str] = Counter()
    bad: list[str] = []
    for name in sorted(paths):
        try:
            with _opened(paths[name]) as picture:
                sizes[name] = picture.size
                kinds.update(_departures(picture))
        except ImageError as error:
            bad.append(str(error))
    if bad and (not skip_unreadable or not sizes):
        raise unreadable(bad, len(paths))
    notes = [f"{count} of {len(sizes)} images {kind}" for kind, count in sorted(kinds.items())]
    if len(set(sizes.values())) > 1:
        (low, high) = (end(sizes.values(), key=lambda size: size[0] * size[1]) for end in (min, max))
        notes.append(f"images of {len(set(sizes.values()))} sizes, {low[0]} x {low[1]} to {high[0]} x {high[1]} px")
    if bad:
        notes.append(f"{len(bad)} of {len(paths)} images left out as unreadable: {listed(bad)}")
    return Images(
        tuple(sizes),
        tuple(sizes.values()),
        tuple(paths[name] for name in sizes),
        open_picture,
        LANCZOS,
        tuple(notes),
        skip_unreadable=skip_unreadable,
    )


def open_picture(path: Path) -> Picture:
    """Reads a picture into memory as 8-bit RGB, as `folder_images` says.

    Raises:
        ImageError: It is damaged, too large or of a kind that is not read.
    """
    with _opened(path) as picture:
        try:
            return Picture(_as_rgb(picture))
        # A damaged file can trip Pillow anywhere.
        except Exception as error:
            raise ImageError(f"{path} is damaged or cut short: {_first_line(error)}") from error


def _opened(path: Path) -> PIL.Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = PIL.Image.open(path)
    except PIL.UnidentifiedImageError:
        raise ImageError(f"{path} is not an image, or it is damaged") from None
    except PIL.Image.DecompressionBombError:
        raise ImageError(f"{path} is too large to be read whole: open it by region") from None
    except Exception as error:
        raise ImageError(f"{path} cannot be read: {_first_line(error)}") from error
    width, height = picture.size
    problem = None
    if width * height > MAX_PICTURE_PX:
        problem = f"{width} x {height} px is too large to be read whole: open it by region"
    elif picture.mode in ("I", "F"):
        problem = "wanted 8 or 16 bits a channel, got 32: convert it first"
    if problem:
        picture.close()
        raise ImageError(f"{path}: {problem}")
    return picture


def _departures(picture: PIL.Image.Image) -> list[str]:
    """In what a picture is not plain 8-bit RGB."""
    mode = picture.mode
    found = []
    if mode.startswith("I;16"):
        found.append("have 16 bits a channel: brought to 8, with 65,535 as white")
    if mode in ("1", "L", "LA", "La") or mode.startswith("I;16"):
        found.append("are grey: read as three equal channels")
    if _is_clear(picture):
        found.append("have transparency: laid on white")
    return found


def _is_clear(picture: PIL.Image.Image) -> bool:
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _as_rgb(picture: PIL.Image.Image) -> Image:
    if picture.mode.startswith("I;16"):
        # 65,535 is 255 times 257.
        grey = np.rint(np.asarray(picture).astype(np.float64) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if _is_clear(picture):
        picture = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
