"""The two sides of a comparison: folders of pictures, and slides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from image_files import list_images
from pfid import Images, folder_images, region_images
from run_folder import UsageError
from wsi_tiling import SLIDE_SUFFIXES, SlideError, open_slide, slide_files

PICTURE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"))
"""A folder with none but these is one of pictures; files of other kinds, TIFF among them, are slides."""
_SHOWN = 3


def whole_images(place: Path, *, skip_unreadable: bool) -> Images:
    """The pictures of a folder, to be measured whole.

    Raises:
        UsageError: It is a file.
        ImageError: It has no pictures, or unreadable ones.
    """
    if place.is_file():
        raise UsageError(
            f"{place} is no folder of images; slides are measured by crops (eval-app pfid), or cut into tiles first "
            "(eval-app export)"
        )
    return folder_images(place, skip_unreadable=skip_unreadable)


def crop_sides(real: Sequence[Path], fake: Sequence[Path], *, skip_unreadable: bool) -> tuple[Images, Images]:
    """Images of both sides, to be measured by crops.

    Folders of pictures are read by Lanczos, as the protocols say. Where there is a slide on either side, all is read by
    `wsi_tiling`, so that no filter tells the sides apart.

    Raises:
        UsageError: Slides are unreadable.
        ImageError: A folder has no pictures, or unreadable ones, or two have one name.
        SlideError: A folder has no slides.
    """
    open_side = _slides if any(map(holds_slides, [*real, *fake])) else _pictures
    return open_side(real, skip_unreadable), open_side(fake, skip_unreadable)


def holds_slides(place: Path) -> bool:
    """Whether a place is a file, or a folder with slides in it."""
    if not place.is_dir():
        return True
    return bool(list_images(place, SLIDE_SUFFIXES - PICTURE_SUFFIXES).names)


def of_names(images: Images, names: Sequence[str]) -> Images:
    """The images of some names, in that order."""
    numbers = [images.names.index(name) for name in names]
    sizes, places = ([column[number] for number in numbers] for column in (images.sizes, images.places))
    formats = tuple(images.formats[number] for number in numbers) if images.formats else ()
    return replace(images, names=tuple(names), sizes=tuple(sizes), places=tuple(places), formats=formats)


def check_enough(what: str, count: int, dimensions: int, *, allow_few: bool) -> None:
    """Raises UsageError, before anything is measured, where there are too few images for an FID."""
    if count < 2:
        raise UsageError(f"{what}: {count}; a distance takes 2 or more: add some")
    if count <= dimensions and not allow_few:
        raise UsageError(
            f"{what}: {count:,}; a distance of {dimensions:,} features takes {dimensions + 1:,} or more "
            "(--allow-few takes fewer, but then the figure depends on how many they are)"
        )


def _pictures(places: Sequence[Path], skip_unreadable: bool) -> Images:
    parts = [folder_images(place, skip_unreadable=skip_unreadable) for place in places]
    return replace(
        parts[0],
        names=tuple(name for part in parts for name in part.names),
        sizes=tuple(size for part in parts for size in part.sizes),
        places=tuple(place for part in parts for place in part.places),
        notes=tuple(note for part in parts for note in part.notes),
        formats=tuple(kind for part in parts for kind in part.formats),
    )


def _slides(places: Sequence[Path], skip_unreadable: bool) -> Images:
    paths = slide_files(places)
    bad: dict[Path, str] = {}
    for path in paths:
        try:
            open_slide(path).close()
        except SlideError as error:
            bad[path] = str(error)
    if not bad:
        return region_images(paths, open_slide)
    shown = "; ".join(list(bad.values())[:_SHOWN]) + (f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
    if len(bad) == len(paths) == 1:
        raise UsageError(shown)
    if not skip_unreadable or len(bad) == len(paths):
        raise UsageError(f"{len(bad)} of {len(paths)} slides cannot be read: {shown}")
    images = region_images([path for path in paths if path not in bad], open_slide)
    return replace(images, notes=(f"{len(bad)} of {len(paths)} slides left out as unreadable: {shown}",))
