"""Sets of images with instance masks, read on access and checked."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import image_files
from image_files import ImageFileError, read_rgb
from maskcond.annotations.annotation_files import read_outlines
from maskcond.annotations.outlines import draw_instances
from maskcond.errors import AnnotationError, ImageSetError, MaskError
from maskcond.masks.arrays import Image, Instances, Numbers, check_numbers
from maskcond.masks.instances import check_instances, relabel

TRAIN = "train"
"""The split for training; all others are for testing."""


@dataclass(frozen=True)
class ImageRecord:
    """Paths and properties of an annotated image.

    Args:
        name: Name without the ending of a file.
        image_path: Path of the image.
        mask_path: Path of the mask: a picture of instance numbers, or outlines as XML or GeoJSON.
        tissue: Organ.
        disease: Disease.
        split: 'train', or the name of a split for testing.
    """

    name: str
    image_path: Path
    mask_path: Path
    tissue: str
    disease: str
    split: str


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image, (H, W, 3) uint8 RGB, its instances, (H, W) int32 numbered from 1 up, and its properties."""

    name: str
    image: Image
    instances: Instances
    tissue: str
    disease: str
    split: str


class AnnotatedImages(Sequence[AnnotatedImage]):
    """Annotated images in a fixed order; each is read on access, with its mask.

    Access raises the errors of `read_image` and `read_instances`, all of which are `MaskcondError`.
    """

    def __init__(self, records: Iterable[ImageRecord]) -> None:
        self.records = tuple(records)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...

    @overload
    def __getitem__(self, index: slice) -> "AnnotatedImages": ...

    def __getitem__(self, index: int | slice) -> "AnnotatedImage | AnnotatedImages":
        if isinstance(index, slice):
            return AnnotatedImages(self.records[index])
        return _read(self.records[index])

    def split(self, *names: str) -> "AnnotatedImages":
        """The images of one split, or of several together.

        Raises:
            ImageSetError: No image is in a split of this name.
        """
        known = {record.split for record in self.records}
        for name in names:
            if name not in known:
                raise ImageSetError(f"no split '{name}'; there are {', '.join(sorted(known))}")
        return AnnotatedImages(record for record in self.records if record.split in names)

    @cached_property
    def pixel_hashes(self) -> tuple[str, ...]:
        """The SHA-256 of each image's RGB bytes, in hex, which does not depend on the file's format.

        Raises:
            ImageSetError: An image cannot be read.
        """
        images = (read_image(record.image_path) for record in self.records)
        return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images)

    def check_no_leak(self) -> None:
        """Checks that no test image has the same pixels as an image of the split 'train'.

        Raises:
            ImageSetError: A test image has, or an image cannot be read.
        """
        hashed = list(zip(self.pixel_hashes, self.records, strict=True))
        training = {digest: record for digest, record in hashed if record.split == TRAIN}
        for digest, record in hashed:
            if record.split != TRAIN and digest in training:
                raise ImageSetError(
                    f"the test image {record.name} ({record.split}) has the same pixels as the training image "
                    f"{training[digest].name}; leave one of them out"
                )


def read_image(path: Path) -> Image:
    """Reads an image of 8 bits a channel upright as RGB, (H, W, 3) uint8; transparent parts become white.

    Raises:
        ImageSetError: The image is missing, damaged or of another kind.
    """
    try:
        return read_rgb(path)
    except ImageFileError as error:
        raise ImageSetError(str(error)) from error


def read_instances(path: Path, size_px: tuple[int, int]) -> Instances:
    """Reads an instance mask, from a picture of instance numbers or from outlines.

    Args:
        path: PNG or TIFF of one channel of 8, 16 or 32 bits; or XML or GeoJSON, see `read_outlines`.
        size_px: Size (height, width) of the mask's image, px.

    Returns:
        (H, W), numbered from 1 up without gaps.

    Raises:
        AnnotationError: The outlines cannot be read, or one lies outside the image.
        ImageSetError: The picture is missing, damaged or of another kind; image and mask differ in size; or the mask is
            empty, or a mask of one class.
    """
    if path.suffix.lower() in (".xml", ".geojson", ".json"):
        outlines = read_outlines(path)
        try:
            numbers: Numbers = draw_instances(outlines, size_px)
        except AnnotationError as error:
            raise AnnotationError(f"{path}: {error}") from None
    else:
        numbers = read_numbers(path)
        try:
            check_instances(numbers)
        except MaskError as error:
            raise ImageSetError(f"{path}: {error}") from None
    if numbers.shape != size_px:
        (mask_height, mask_width), (height, width) = numbers.shape, size_px
        raise ImageSetError(f"{path}: the mask is {mask_width} x {mask_height} px, its image {width} x {height} px")
    if not numbers.any():
        raise ImageSetError(f"{path}: the mask is empty")
    return relabel(numbers)


def read_numbers(path: Path) -> Numbers:
    """Reads a picture of numbers, one channel of up to 32 bits, upright and unscaled, (H, W); it may be all 0.

    Raises:
        ImageSetError: The picture is missing, damaged or of another kind.
    """
    try:
        numbers: Numbers = image_files.read_numbers(path)
        check_numbers(numbers)
    except ImageFileError as error:
        raise ImageSetError(str(error)) from error
    except MaskError as error:
        raise ImageSetError(f"{path}: {error}") from None
    return numbers


def _read(record: ImageRecord) -> AnnotatedImage:
    image = read_image(record.image_path)
    height, width, _ = image.shape
    instances = read_instances(record.mask_path, (height, width))
    return AnnotatedImage(record.name, image, instances, record.tissue, record.disease, record.split)
