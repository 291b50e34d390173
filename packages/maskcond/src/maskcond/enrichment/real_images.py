"""The real images of a run, read on access at its scale, with a check that no test image is a training image."""

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
    PictureSource,
    labels_of_instances,
    picture_folder,
    read_labels,
)
from maskcond.conditions import Given
from maskcond.enrichment.config import DataConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.strategies.strategy_table import ALL
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
        name: Name of the image.
        split: 'train', or the name of a test set.
        image_path: Path of the image.
        mask_path: Path of its mask.
        classes: Classes of the mask; None for numbered nuclei.
        given: Values of its conditions.
    """

    name: str
    split: str
    image_path: Path
    mask_path: Path
    classes: ClassSet | None = None
    given: Given = field(default_factory=dict, hash=False)

    def read(self, scale: float = 1.0) -> tuple[Image, Numbers]:
        """Reads image and mask at a scale.

        Raises:
            ImageSetError, AnnotationError: Image or mask cannot be read, or they differ in size.
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
    """A real image as a training pair.

    Args:
        real: The image.
        scale: Scale of image and labels.
        to_labels: Function that converts its mask to labels.
    """

    real: RealImage
    scale: float
    to_labels: Callable[[Numbers], Labels]

    def read(self) -> LabelledImage:
        """Reads the pair."""
        image, mask = self.real.read(self.scale)
        return LabelledImage(self.real.name, image, self.to_labels(mask), self.real.given)


class RealImages:
    """All real images of a run, checked.

    Args:
        images: Images with masks, for training and for testing.
        unannotated: Images without masks, for training.
        notes: Skipped files, a line each.

    Raises:
        EnrichmentError: There is no training image or no test image, a split is called 'all', two images share a name,
            or a test image has the pixels of a training image.
        MaskcondError: An image or its mask cannot be read, or the two differ in size.
    """

    def __init__(
        self, images: Iterable[RealImage], unannotated: LabelledImages | None = None, notes: Iterable[str] = ()
    ) -> None:
        self.images, self.unannotated, self.notes = tuple(images), unannotated, tuple(notes)
        if not self.of(TRAIN) or not self.splits:
            raise EnrichmentError("wanted images of the split 'train', and of at least one other to test on")
        if any(split.strip().casefold() in ("", ALL) for split in self.splits):
            raise EnrichmentError(f"a split has no name, or is called '{ALL}', which the table uses; rename it")
        names = [image.name for image in self.images]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise EnrichmentError(f"two images are called {twice[0]}; rename one of them")
        self._check_no_leak()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the test sets, in order."""
        return tuple(dict.fromkeys(image.split for image in self.images if image.split != TRAIN))

    def of(self, *splits: str) -> list[RealImage]:
        """The images of some splits."""
        return [image for image in self.images if image.split in splits]

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256, in hex, of each image's RGB bytes, by its name; masks are read too, to check them early."""
        return {image.name: _digest(image.read()[0]) for image in self.images}

    @cached_property
    def unannotated_digests(self) -> tuple[tuple[str, str], ...]:
        """Name and digest of each unannotated image, in order; images of several folders can share a name."""
        images = self.unannotated if self.unannotated is not None else ()
        return tuple((image.name, _digest(image.image)) for image in images)

    def digest(self, *splits: str) -> str:
        """The SHA-256, in hex, of the images, masks and conditions of some splits, in order."""
        whole = hashlib.sha256()
        for image in self.of(*splits):
            mask = hashlib.sha256(image.mask_path.read_bytes()).hexdigest()
            whole.update(f"{image.name} {image.split} {self.digests[image.name]} {mask} {dict(image.given)}\n".encode())
        return whole.hexdigest()

    def digest_unannotated(self) -> str:
        """The SHA-256, in hex, of the unannotated images; empty if there are none."""
        lines = [f"{name} {digest}\n" for name, digest in self.unannotated_digests]
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""

    def _check_no_leak(self) -> None:
        training = {self.digests[image.name]: image.name for image in self.of(TRAIN)}
        training |= {digest: name for name, digest in self.unannotated_digests}
        for image in self.of(*self.splits):
            if (same := training.get(self.digests[image.name])) is not None:
                raise EnrichmentError(
                    f"the test image {image.name} ({image.split}) has the same pixels as the training image {same}; "
                    "leave one of them out"
                )


def open_real_images(config: DataConfig, classes: ClassSet, *, seed: int) -> RealImages:
    """Opens the real images of a configuration.

    Args:
        config: Configuration of the data.
        classes: Classes of the masks, if these are of classes.
        seed: Seed of the choice of the images whose masks are used.

    Raises:
        MaskcondError: A folder is missing, images and masks do not pair, or as for `RealImages`.
    """
    notes: list[str] = []
    if config.kumar is not None:
        real = [
            RealImage(
                record.name,
                record.split,
                record.image_path,
                record.mask_path,
                given={"tissue": record.tissue, "disease": record.disease},
            )
            for record in read_kumar(config.kumar).records
        ]
    else:
        real = []
        for folder in config.folders:
            (images, image_notes), (masks, mask_notes) = (
                _by_stem(folder.images, PICTURES),
                _by_stem(folder.masks, MASKS),
            )
            notes += [*image_notes, *mask_notes]
            if alone := sorted(images.keys() ^ masks.keys()):
                where = folder.masks if alone[0] in images else folder.images
                raise EnrichmentError(f"{alone[0]}: not in {where}; every image has a mask of the same name")
            of_masks = None if config.masks == "nuclei" else classes
            real += [
                RealImage(name, folder.split, path, masks[name], of_masks, folder.given or {})
                for name, path in images.items()
            ]
    unannotated: LabelledImages | None = None
    for path in config.unannotated:
        more = picture_folder(path)
        unannotated = more if unannotated is None else unannotated + more
    if unannotated is not None:
        notes += unannotated.notes
    if config.annotated is not None:
        real, spared = _spare_masks(real, config.annotated, seed)
        unannotated = spared if unannotated is None else spared + unannotated
    return RealImages(real, unannotated or None, notes)


def _spare_masks(real: list[RealImage], annotated: int, seed: int) -> tuple[list[RealImage], LabelledImages]:
    """Keeps the masks of some training images, chosen at random, and returns the others without masks."""
    names = [image.name for image in real if image.split == TRAIN]
    if annotated > len(names):
        raise EnrichmentError(f"data.annotated: wanted {annotated} training images with masks, got {len(names)}")
    kept = set(np.random.default_rng(seed).permutation(names)[:annotated].tolist())
    spared = [image for image in real if image.split == TRAIN and image.name not in kept]
    return (
        [image for image in real if image.split != TRAIN or image.name in kept],
        LabelledImages([PictureSource(image.image_path) for image in spared]),
    )


def at_scale(image: Image, mask: Numbers, scale: float) -> tuple[Image, Numbers]:
    """Scales an image by area, and its mask by the nearest pixel, because numbers cannot be averaged."""
    resized = image_at_scale(image, scale)
    rows, cols = (_nearest(old, new) for old, new in zip(mask.shape, resized.shape[:2], strict=True))
    return resized, mask[rows][:, cols]


def image_at_scale(image: Image, scale: float) -> Image:
    """Scales an image by area."""
    if scale == 1:
        return image
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    pixels = resize_by_area(image.transpose(2, 0, 1).astype(np.float32), (height, width)).transpose(1, 2, 0)
    return np.asarray(np.rint(pixels).clip(0, 255), np.uint8)


def conditioning_labels(mask: Numbers, task: SegmentationTask, classes: ClassSet) -> Labels:
    """Converts a mask, of nuclei or of classes, to the labels that a mask-conditioned cascade takes.

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
    """The files of a folder and its subfolders by their names without endings; and notes on skipped files."""
    try:
        listed = list_images(folder, endings)
        paths = paths_by_stem(listed.paths)
    except ImageFileError as error:
        raise EnrichmentError(str(error)) from None
    if not paths:
        raise EnrichmentError(f"{folder}: no picture in it (names ending in {', '.join(endings)})")
    return paths, [f"{folder}: {note}" for note in listed.notes]
