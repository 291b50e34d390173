"""Checks and the digest of the pairs that a model is trained on."""

import hashlib

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.errors import MaskError
from maskcond.masks.arrays import Labels, check_image
from maskcond.masks.classes import ClassSet
from maskcond.masks.codec import MaskCodec
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.model import Pairs


def check_pairs(pairs: Pairs, classes: ClassSet, *, min_side_px: int = 1) -> str:
    """Checks training pairs; reads all of them once.

    Args:
        pairs: Images with labels.
        classes: Classes of the labels.
        min_side_px: Smallest allowed width and height, px.

    Returns:
        The SHA-256, in hex, of all pixels and labels in order.

    Raises:
        SegmentationError: There is no pair; or a pair, which is named, has no labels, labels of another size or with
            unknown numbers, or is too small; or all labels are background.
    """
    codec, digest, foreground = MaskCodec(classes), hashlib.sha256(), False
    for pair in pairs:
        labels = labels_of(pair)
        try:
            check_image(pair.image)
            codec.check(labels)
        except MaskError as error:
            raise SegmentationError(f"{pair.name}: {error}") from None
        height, width = pair.image.shape[:2]
        if labels.shape != (height, width):
            wrong = labels.shape
            raise SegmentationError(
                f"{pair.name}: the labels are {wrong[1]} x {wrong[0]} px, the image {width} x {height} px"
            )
        if min(height, width) < min_side_px:
            raise SegmentationError(f"{pair.name}: {width} x {height} px, smaller than the crops of {min_side_px} px")
        foreground = foreground or bool(labels.any())
        digest.update(f"{height} {width} ".encode() + pair.image.tobytes() + labels.astype("uint8").tobytes())
    if not len(pairs):
        raise SegmentationError("wanted at least one labelled image, got none")
    if not foreground:
        raise SegmentationError("no pixel of any label is of a class: there is nothing to learn")
    return digest.hexdigest()


def labels_of(pair: LabelledImage) -> Labels:
    """The labels of an image.

    Raises:
        SegmentationError: The image has no labels.
    """
    if pair.labels is None:
        raise SegmentationError(f"{pair.name}: no labels; a segmentation model learns from labelled images only")
    return pair.labels
