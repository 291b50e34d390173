"""Conversion of label images to one-hot channels, colours and masks of single classes, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Channels, Image, Labels, Numbers, check_image, check_numbers
from maskcond.masks.classes import ClassSet


@dataclass(frozen=True)
class MaskCodec:
    """Converts masks of a class set from one form to another.

    The background has no channel: its pixels are zero in all channels.

    Args:
        classes: Classes of the masks.
    """

    classes: ClassSet

    @property
    def channels(self) -> int:
        """The number of channels, one a class."""
        return len(self.classes.classes)

    def encode(self, labels: Numbers) -> Channels:
        """Converts labels to one-hot channels.

        Args:
            labels: Class numbers, (H, W).

        Returns:
            (C, H, W) float32 of zeros and ones.

        Raises:
            MaskError: The labels are no such array, or have unknown numbers, which the message names.
        """
        self.check(labels)
        numbers = np.arange(1, self.channels + 1)[:, None, None]
        return np.asarray(labels == numbers, np.float32)

    def decode(self, channels: NDArray[np.floating]) -> Labels:
        """Converts shares to labels: each pixel takes the class of the largest share.

        The background's share is the rest to 1. Ties go to the background, then to the class with the lower number.

        Args:
            channels: Share of each class, (C, H, W), in [0, 1].

        Raises:
            MaskError: The number of channels differs from that of the classes.
        """
        self._check_channels(channels)
        background = 1 - channels.sum(axis=0, keepdims=True)
        return np.asarray(np.concatenate([background, channels]).argmax(axis=0), np.uint8)

    def resize(self, channels: NDArray[np.floating], size_px: tuple[int, int]) -> Channels:
        """Resizes channels by area: each new pixel holds the share of its area that each class covers.

        Thin structures fade instead of breaking up, and the mean of every channel does not change.

        Args:
            channels: Channels, (C, H, W).
            size_px: New size (height, width), px.

        Returns:
            (C, height, width) float32; the sum of the channels does not exceed 1 if it did not before.

        Raises:
            MaskError: The number of channels differs from that of the classes, or the size is not positive.
        """
        self._check_channels(channels)
        return resize_by_area(channels, size_px)

    def resize_labels(self, labels: Numbers, size_px: tuple[int, int]) -> Labels:
        """Resizes labels to (height, width), px: each new pixel takes the class that covers most of its area.

        Raises:
            MaskError: As for `encode` and `resize`.
        """
        return self.decode(self.resize(self.encode(labels), size_px))

    def split(self, labels: Numbers) -> dict[str, NDArray[np.bool_]]:
        """The mask (H, W) of each class by its name; classes without a pixel have an empty mask.

        Raises:
            MaskError: As for `encode`.
        """
        self.check(labels)
        return {name: labels == number for number, name in enumerate(self.classes.names, 1)}

    def join(self, masks: Mapping[str, NDArray[np.bool_]]) -> Labels:
        """Converts masks (H, W) by class name to labels; in overlaps the class with the higher number wins.

        Raises:
            MaskError: A name is unknown, there is no mask, or the masks differ in size.
        """
        shapes = {mask.shape for mask in masks.values()}
        if len(shapes) != 1:
            raise MaskError(f"wanted masks of one size, got {len(masks)} masks of {len(shapes)} sizes")
        labels = np.zeros(shapes.pop(), np.uint8)
        for number, name in sorted((self.classes.number(name), name) for name in masks):
            labels[masks[name]] = number
        return labels

    def paint(self, labels: Numbers) -> Image:
        """Paints labels in their classes' colours on black, (H, W, 3) uint8.

        Raises:
            MaskError: As for `encode`.
        """
        self.check(labels)
        return self._palette()[labels.astype(np.uint8)]

    def read_colours(self, picture: Image) -> Labels:
        """Converts a picture in the classes' colours on black to labels.

        Raises:
            MaskError: The picture is not (H, W, 3) uint8, or has other colours; the message names up to three.
        """
        check_image(picture)
        labels = np.zeros(picture.shape[:2], np.uint8)
        known = (picture == 0).all(axis=2)
        for number, colour in enumerate(self._palette()[1:], 1):
            matches = (picture == colour).all(axis=2)
            labels[matches] = number
            known |= matches
        if not known.all():
            strange = np.unique(picture[~known], axis=0)
            named = ", ".join(str(tuple(colour.tolist())) for colour in strange[:3])
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            raise MaskError(f"colours of no class: {named}{more}; save masks without loss and without smoothing")
        return labels

    def check(self, labels: Numbers) -> None:
        """Checks that labels are (H, W) of known class numbers.

        Raises:
            MaskError: They are not.
        """
        check_numbers(labels, "label image")
        if labels.size and labels.max() > self.channels:
            unknown = np.unique(labels[labels > self.channels])
            named = ", ".join(str(number) for number in unknown[:5])
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise MaskError(
                f"unknown class numbers {named}{more}; known are 0 (background) to {self.channels}: "
                + ", ".join(self.classes.names)
            )

    def _check_channels(self, channels: NDArray[np.floating]) -> None:
        if channels.ndim != 3 or len(channels) != self.channels:
            raise MaskError(f"wanted channels of shape ({self.channels}, H, W), got {channels.shape}")
        if not np.isfinite(channels).all():
            count = int((~np.isfinite(channels)).sum())
            raise MaskError(f"wanted finite channels, got {count:,} of {channels.size:,} values that are not")

    def _palette(self) -> Image:
        return np.array([(0, 0, 0), *(mask_class.colour for mask_class in self.classes.classes)], np.uint8)
