"""Training images, with labels and conditions if there are any."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from image_files import ImageFileError, list_images, paths_by_stem
from maskcond.annotations.annotated_images import AnnotatedImages, read_image, read_numbers
from maskcond.conditions import Given
from maskcond.errors import ImageSetError, MaskError
from maskcond.masks.arrays import Image, Instances, Labels
from maskcond.masks.classes import KUMAR_BORDER, ClassSet
from maskcond.masks.codec import MaskCodec
from maskcond.masks.instances import border_labels, instances_from_borders

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
KEPT = 32
"""Number of images of a set that stay in memory: all of KUMAR, at 4 MB each."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image, (H, W, 3) uint8 RGB, its labels, (H, W) uint8 or None, and its conditions."""

    name: str
    image: Image
    labels: Labels | None = None
    given: Given = field(default_factory=dict)

    @cached_property
    def nuclei(self) -> Instances:
        """Instance map of labels of `KUMAR_BORDER`, see `instances_from_borders`; empty without labels.

        Raises:
            MaskError: The labels have other numbers.
        """
        return instances_from_borders(np.zeros(self.image.shape[:2], np.uint8) if self.labels is None else self.labels)


class Source(Protocol):
    """A source that a labelled image is read from."""

    def read(self) -> LabelledImage:
        """Reads the image; raises `MaskcondError` if it cannot be read."""
        ...


class LabelledImages(Sequence[LabelledImage]):
    """Labelled images in a fixed order, read on access; the last ones are cached, those of a repeated source once.

    Sets are joined with `+`, such as annotated images and others of the same tissue.

    Args:
        sources: Sources of the images.
        notes: Notes on the images, such as skipped files, a line each.
    """

    def __init__(self, sources: Iterable[Source], notes: Iterable[str] = ()) -> None:
        self.sources = tuple(sources)
        self.notes = tuple(notes)
        first: dict[int, int] = {}
        self._first = [first.setdefault(id(source), index) for index, source in enumerate(self.sources)]
        self._kept: OrderedDict[int, LabelledImage] = OrderedDict()

    def __len__(self) -> int:
        return len(self.sources)

    def __add__(self, other: "LabelledImages") -> "LabelledImages":
        return LabelledImages(self.sources + other.sources, self.notes + other.notes)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> "LabelledImages": ...

    def __getitem__(self, index: int | slice) -> "LabelledImage | LabelledImages":
        if isinstance(index, slice):
            return LabelledImages(self.sources[index], self.notes)
        index = self._first[index]
        if index not in self._kept:
            self._kept[index] = self.sources[index].read()
        self._kept.move_to_end(index)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[index]


@dataclass(frozen=True)
class AnnotatedSource:
    """An image of a set with instances, which are converted to labels."""

    images: AnnotatedImages
    index: int
    classes: ClassSet

    def read(self) -> LabelledImage:
        """Reads the image."""
        image = self.images[self.index]
        given = {"tissue": image.tissue, "disease": image.disease}
        return LabelledImage(image.name, image.image, labels_of_instances(image.instances, self.classes), given)


@dataclass(frozen=True)
class PictureSource:
    """A picture, with a picture of its labels' numbers if there is one."""

    image_path: Path
    label_path: Path | None = None
    codec: MaskCodec | None = None

    def read(self) -> LabelledImage:
        """Reads the image."""
        image, labels = read_image(self.image_path), None
        if self.label_path is not None and self.codec is not None:
            labels = read_labels(self.label_path, self.codec)
            if labels.shape != image.shape[:2]:
                (height, width), (mask_height, mask_width) = image.shape[:2], labels.shape
                raise ImageSetError(
                    f"{self.label_path}: the mask is {mask_width} x {mask_height} px, its image {width} x {height} px"
                )
        return LabelledImage(self.image_path.stem, image, labels)


def labels_of_instances(instances: Instances, classes: ClassSet) -> Labels:
    """Converts an instance map to labels, of nuclei alone or of their insides and borders.

    Raises:
        MaskError: The classes are neither a single one nor `KUMAR_BORDER`.
    """
    if classes == KUMAR_BORDER:
        return border_labels(instances)
    if len(classes.classes) > 1:
        raise MaskError(f"wanted one class for instances, got {', '.join(classes.names)}; give label images instead")
    return np.asarray(instances > 0, np.uint8)


def labelled(images: AnnotatedImages, classes: ClassSet) -> LabelledImages:
    """Annotated images with labels of these classes, and with their tissue and disease as conditions."""
    return LabelledImages(AnnotatedSource(images, i, classes) for i in range(len(images)))


def picture_folder(images: Path, labels: Path | None = None, codec: MaskCodec | None = None) -> LabelledImages:
    """The pictures of a folder, without labels, or with labels from PNGs of the same names in another folder.

    Args:
        images: Folder of PNG, TIFF or JPEG images, with its subfolders; the set's notes name skipped files.
        labels: Folder of pictures of class numbers, one channel.
        codec: Codec of the labels.

    Raises:
        ImageSetError: A folder is missing or empty, two images differ only in folder or ending, or images and labels do
            not pair.
    """
    if (labels is None) != (codec is None):
        raise ImageSetError("labels are read with their codec: give both, or neither")
    pictures, notes = paths_by_name(images, PICTURES)
    if labels is None:
        return LabelledImages((PictureSource(path) for path in pictures.values()), notes)
    masks, notes_on_masks = paths_by_name(labels, (".png",))
    if alone := sorted(pictures.keys() ^ masks.keys()):
        where = labels if alone[0] in pictures else images
        raise ImageSetError(f"{alone[0]}: not in {where}; every image has labels of the same name")
    sources = (PictureSource(path, masks[name], codec) for name, path in pictures.items())
    return LabelledImages(sources, notes + notes_on_masks)


def read_labels(path: Path, codec: MaskCodec) -> Labels:
    """Reads a picture of class numbers, one channel, upright.

    Raises:
        ImageSetError: The picture is missing, damaged or of another kind, or has unknown numbers.
    """
    numbers = read_numbers(path)
    try:
        codec.check(numbers)
    except MaskError as error:
        raise ImageSetError(f"{path}: {error}") from None
    return numbers.astype(np.uint8)


def paths_by_name(folder: Path, endings: tuple[str, ...]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files with some endings in a folder and its subfolders, by their names without endings.

    Returns:
        The files, and notes on skipped files, a line each.

    Raises:
        ImageSetError: The folder is missing or has no such file, or two files differ only in folder or ending.
    """
    try:
        listed = list_images(folder, endings)
        paths = paths_by_stem(listed.paths)
    except ImageFileError as error:
        raise ImageSetError(str(error)) from None
    notes = tuple(f"{folder}: {note}" for note in listed.notes)
    if not paths:
        left_out = "".join(f"; {note}" for note in listed.notes)
        raise ImageSetError(f"{folder}: no image in it (names ending in {', '.join(endings)}){left_out}")
    return paths, notes
