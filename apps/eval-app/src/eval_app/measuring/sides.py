"""The two sides of a comparison: folders of images, and slides."""

from collections.abc import Sequence
from pathlib import Path

from image_files import list_images
from pfid import Images, folder_images, region_images
from run_folder import UsageError
from wsi_tiling import SLIDE_SUFFIXES, check_distinct, open_slide, slide_files

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"))
"""A folder with only these is a folder of images; other files, TIFF among them, are slides."""


def whole_images(place: Path, *, skip_unreadable: bool) -> Images:
    """The images of a folder, to be measured whole.

    Raises:
        UsageError: It is a file.
        ImageError: It has no images, or unreadable ones.
    """
    if place.is_file():
        raise UsageError(
            f"{place} is no folder of images; slides are measured by crops (eval-app pfid), or cut into tiles first "
            "(eval-app export)"
        )
    return folder_images(place, skip_unreadable=skip_unreadable)


def crop_sides(real: Sequence[Path], fake: Sequence[Path], *, skip_unreadable: bool) -> tuple[Images, Images]:
    """Images of both sides, to be measured by crops.

    Folders of images are read by Lanczos, as the protocols say. If there is a slide on either side, all are read by
    `wsi_tiling`, so that no filter tells the sides apart.

    Raises:
        ImageError: A folder has no images, images are unreadable, or two have one name or are the same slide.
        SlideError: A folder has no slides.
    """
    open_side = _slides if any(map(holds_slides, [*real, *fake])) else _folders
    return open_side(real, skip_unreadable), open_side(fake, skip_unreadable)


def holds_slides(place: Path) -> bool:
    """Whether a place is a file, or a folder with slides in it."""
    if not place.is_dir():
        return True
    return bool(list_images(place, SLIDE_SUFFIXES - IMAGE_SUFFIXES).names)


def _folders(places: Sequence[Path], skip_unreadable: bool) -> Images:
    first, *others = (folder_images(place, skip_unreadable=skip_unreadable) for place in places)
    return first.joined(*others)


def _slides(places: Sequence[Path], skip_unreadable: bool) -> Images:
    slides = region_images(slide_files(places), open_slide, skip_unreadable=skip_unreadable)
    check_distinct(slides.places)
    return slides
