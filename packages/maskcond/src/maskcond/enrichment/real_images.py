"""The real images of a run: read when asked for, brought to its scale, with the test images kept out of training."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image_files import ImageFileError, list_images, paths_by_stem
from maskcond.annotations.annotated_images import TRAIN, read_image, read_instances
from maskcond.annotations.kumar import read_kumar
from maskcond.annotations.labelled_images import (
    LabelledImage,
    LabelledImages,
    labels_of_instances,
    picture_folder,
    read_labels,
)
from maskcond.conditions import Given
from maskcond.enrichment.config import DataConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.strategy_table import ALL
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Image, Labels, Numbers
from maskcond.masks.classes import ClassSet
from maskcond.masks.codec import MaskCodec
from maskcond.masks.instances import relabel
from maskcond.segmentation.tasks import SegmentationTask

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
MASKS = (".png", ".tif", ".tiff", ".xml", ".geojson", ".json")


@dataclass(frozen=True)
class RealImage:
    """A real image with its mask, on disk.

    Args:
        name: Its name.
        split: 'train' or that of a test set.
        image_path: The image.
        mask_path: Its mask.
        classes: What the numbers of its mask mean; None for nuclei, each with a number of its own.
        given: ConditionSet.
    """

    name: str
    split: str
    image_path: Path
    mask_path: Path
    classes: ClassSet | None = None
    given: Given = field(default_factory=dict, hash=False)

    def read(self, scale: float = 1.0) -> tuple[Image, Numbers]:
        """Reads image and mask, and brings them to a scale.

        Raises:
            ImageSetError, AnnotationError: One cannot be read, or they do not fit together.
        """
        image = read_image(self.image_path)
        size_px = (image.shape[0], image.shape[1])
        if self.classes is None:
            mask: Numbers = read_instances(self.mask_path, size_px)
        else:
            mask = read_labels(self.mask_path, MaskCodec(self.classes))
            if mask.shape != size_px:
                (height, width), (rows, cols) = size_px, mask.shape
                raise EnrichmentError(f"{self.mask_path}: the mask is {cols} x {rows} px, its image {width} x {height}")
        return at_scale(image, mask, scale) if scale != 1 else (image, mask)


@dataclass(frozen=True)
class PairSource:
    """A real image as a pair to learn from.

    Args:
        real: The image.
        scale: Of image and labels.
        to_labels: Makes labels of its mask.
    """

    real: RealImage
    scale: float
    to_labels: Callable[[Numbers], Labels]

    def read(self) -> LabelledImage:
        """Reads it."""
        image, mask = self.real.read(self.scale)
        return LabelledImage(self.real.name, image, self.to_labels(mask), self.real.given)


class RealImages:
    """All real images of a run, checked.

    Args:
        images: With masks, for training and for testing.
        unannotated: Images without masks, for training.
        notes: Files that were left out when the images were listed, a line each.

    Raises:
        EnrichmentError: There is none to train on or none to test on, a split is called 'all', two of a split share a
            name, or a test image has the pixels of a training image.
        MaskcondError: One cannot be read, or its mask cannot, or the two do not fit together.
    """

    def __init__(
        self, images: Iterable[RealImage], unannotated: LabelledImages | None = None, notes: Iterable[str] = ()
    ) -> None:
        self.images, self.unannotated, self.notes = tuple(images), unannotated, tuple(notes)
        if not self.of(TRAIN) or not self.splits:
            raise EnrichmentError("wanted images of the split 'train', and of at least one other to test on")
        if any(split.strip().casefold() in ("", ALL) for split in self.splits):
            raise EnrichmentError(f"a split has no name, or is called '{ALL}' as the table calls all; rename it")
        names = [each.name for each in self.images]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise EnrichmentError(f"two images are called {twice[0]}; give every image a name of its own")
        self._check_no_leak()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the test sets, in their order."""
        return tuple(dict.fromkeys(each.split for each in self.images if each.split != TRAIN))

    def of(self, *splits: str) -> list[RealImage]:
        """The images of some splits."""
        return [each for each in self.images if each.split in splits]

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256, in hex, of each image's RGB bytes, by its name; masks are read too, to refuse bad ones early."""
        return {each.name: _digest(each.read()[0]) for each in self.images}

    @cached_property
    def unannotated_digests(self) -> tuple[tuple[str, str], ...]:
        """Name and digest of each unannotated image, in their order: in several folders, names can be the same."""
        images = self.unannotated if self.unannotated is not None else ()
        return tuple((each.name, _digest(each.image)) for each in images)

    def digest(self, *splits: str) -> str:
        """The SHA-256, in hex, of the images, masks and conditions of some splits, in their order."""
        whole = hashlib.sha256()
        for each in self.of(*splits):
            mask = hashlib.sha256(each.mask_path.read_bytes()).hexdigest()
            whole.update(f"{each.name} {each.split} {self.digests[each.name]} {mask} {dict(each.given)}\n".encode())
        return whole.hexdigest()

    def digest_unannotated(self) -> str:
        """The SHA-256, in hex, of the unannotated images; empty if there are none."""
        lines = [f"{name} {digest}\n" for name, digest in self.unannotated_digests]
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""

    def _check_no_leak(self) -> None:
        training = {self.digests[each.name]: each.name for each in self.of(TRAIN)}
        training |= {digest: name for name, digest in self.unannotated_digests}
        for each in self.of(*self.splits):
            if (found := training.get(self.digests[each.name])) is not None:
                raise EnrichmentError(
                    f"the test image {each.name} ({each.split}) has the same pixels as the training image {found}; "
                    "leave one of them out"
                )


def open_real_images(config: DataConfig, classes: ClassSet) -> RealImages:
    """Opens the real images of a configuration.

    Args:
        config: Where they are.
        classes: Of the masks, where these are of classes.

    Raises:
        MaskcondError: A folder is missing, images and masks do not pair, or as of `RealImages`.
    """
    notes: list[str] = []
    if config.kumar is not None:
        found = [
            RealImage(
                each.name,
                each.split,
                each.image_path,
                each.mask_path,
                given={"tissue": each.tissue, "disease": each.disease},
            )
            for each in read_kumar(config.kumar).records
        ]
    else:
        found = []
        for folder in config.folders:
            (images, left), (masks, more_left) = _by_stem(folder.images, PICTURES), _by_stem(folder.masks, MASKS)
            notes += [*left, *more_left]
            if alone := sorted(images.keys() ^ masks.keys()):
                where = folder.masks if alone[0] in images else folder.images
                raise EnrichmentError(f"{alone[0]}: not in {where}; every image has a mask of the same name")
            of_masks = None if config.masks == "nuclei" else classes
            found += [
                RealImage(name, folder.split, path, masks[name], of_masks, folder.given or {})
                for name, path in images.items()
            ]
    unannotated: LabelledImages | None = None
    for place in config.unannotated:
        more = picture_folder(place)
        unannotated = more if unannotated is None else unannotated + more
    if unannotated is not None:
        notes += unannotated.notes
    return RealImages(found, unannotated, notes)


def at_scale(image: Image, mask: Numbers, scale: float) -> tuple[Image, Numbers]:
    """Brings an image to a scale by the share of area, and its mask by the nearest pixel, as numbers do not mix."""
    resized = image_at_scale(image, scale)
    rows, cols = (_nearest(old, new) for old, new in zip(mask.shape, resized.shape[:2], strict=True))
    return resized, mask[rows][:, cols]


def image_at_scale(image: Image, scale: float) -> Image:
    """Brings an image to a scale by the share of area."""
    if scale == 1:
        return image
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    pixels = resize_by_area(image.transpose(2, 0, 1).astype(np.float32), (height, width)).transpose(1, 2, 0)
    return np.asarray(np.rint(pixels).clip(0, 255), np.uint8)


def conditioning_labels(mask: Numbers, task: SegmentationTask, classes: ClassSet) -> Labels:
    """Makes what a mask-conditioned cascade is given of a mask: of nuclei or of classes.

    Raises:
        MaskError: The cascade's classes are not those of the mask.
    """
    if task.classes == classes:
        return task.labels(mask)
    return labels_of_instances(relabel(mask), classes)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)


def _digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _by_stem(folder: Path, endings: tuple[str, ...]) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder, and of folders in it, by their names without endings; and what was left out."""
    try:
        found = list_images(folder, endings)
        paths = paths_by_stem(found.paths)
    except ImageFileError as error:
        raise EnrichmentError(str(error)) from None
    if not paths:
        raise EnrichmentError(f"{folder}: no picture in it (names ending in {', '.join(endings)})")
    return paths, [f"{folder}: {note}" for note in found.notes]
