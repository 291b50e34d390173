"""Images in folders, each read whole when it is needed."""

from collections import Counter
from collections.abc import Collection
from os import PathLike
from pathlib import Path

from image_files import SUFFIXES, Departure, ImageFileError, ImageInfo, describe, list_images, read_rgb
from pfid.errors import ImageError
from pfid.images.sources import LANCZOS, Images, Picture, listed, unreadable

__all__ = ["SUFFIXES", "folder_images", "open_picture"]
_LISTED_SIZES = 3


def folder_images(folder: str | PathLike[str], *, skip_unreadable: bool = False) -> Images:
    """The images in a folder and the folders below it, by name; each is read when it is needed.

    Links to folders are followed. Images are turned upright, grey ones become three equal channels, 16-bit ones become
    8-bit with 65,535 as white, and transparent pixels are laid on white; notes count these images. Hidden files are
    left out, and with a note files of other types.

    Args:
        folder: The folder.
        skip_unreadable: Leaves unreadable images out, with a note, instead of refusing the folder.

    Raises:
        ImageError: There is no such folder, no image in it, or unreadable ones.
    """
    try:
        listing = list_images(folder)
    except ImageFileError as error:
        raise ImageError(str(error)) from None
    if not listing.names:
        left_out = "".join(f"; {note}" for note in listing.notes)
        raise ImageError(f"{folder}: no images in it (names ending in {', '.join(SUFFIXES)}){left_out}")
    infos: dict[Path, ImageInfo] = {}
    names: list[str] = []
    bad: list[str] = []
    for name, path in zip(listing.names, listing.paths, strict=True):
        try:
            infos[path] = describe(path, allow_16_bits=True)
        except ImageFileError as error:
            bad.append(str(error))
        else:
            names.append(name)
    if bad and (not skip_unreadable or not infos):
        raise unreadable(bad, len(listing.names))
    sizes = tuple(info.size_px for info in infos.values())
    notes = [*_departure_notes(infos.values()), *_size_notes(sizes), *listing.notes]
    if bad:
        notes.append(f"{len(bad)} of {len(listing.names)} images left out as unreadable: {listed(bad)}")
    return Images(
        tuple(names),
        sizes,
        tuple(infos),
        open_picture,
        LANCZOS,
        tuple(notes),
        skip_unreadable=skip_unreadable,
        formats=tuple(info.format for info in infos.values()),
    )


def open_picture(path: str | PathLike[str]) -> Picture:
    """Reads a picture into memory as 8-bit RGB, as `folder_images` describes.

    Raises:
        ImageError: It is damaged, too large or of a kind that is not read.
    """
    try:
        return Picture(read_rgb(path, allow_16_bits=True))
    except ImageFileError as error:
        raise ImageError(str(error)) from error


def _departure_notes(infos: Collection[ImageInfo]) -> list[str]:
    """Numbers of images that differ from plain 8-bit RGB, and the difference."""
    counts = Counter(departure for info in infos for departure in info.departures)
    return [f"{counts[departure]} of {len(infos)} images {departure}" for departure in Departure if counts[departure]]


def _size_notes(sizes: Collection[tuple[int, int]]) -> list[str]:
    """The sizes of images, where there are several."""
    different = sorted(set(sizes))
    if len(different) < 2:
        return []
    if len(different) <= _LISTED_SIZES:
        return [f"images of {len(different)} sizes: " + ", ".join(f"{w} x {h}" for w, h in different) + " px"]
    (low_width, high_width), (low_height, high_height) = ((min(side), max(side)) for side in zip(*sizes, strict=True))
    return [
        f"images of {len(different)} sizes: widths of {low_width} to {high_width} px, heights of {low_height} to "
        f"{high_height} px"
    ]
