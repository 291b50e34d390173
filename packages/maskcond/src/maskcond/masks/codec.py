"""Label images to one-hot channels, colours and the masks of single classes, and back."""

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
    """Turns masks of a class set from one form into another.

    The background is no channel: a pixel of background is zero in all of them.
    """

    classes: ClassSet

    @property
    def channels(self) -> int:
        """The number of channels, one a class."""
        return len(self.classes.classes)

    def encode(self, labels: Numbers) -> Channels:
        """Makes one-hot channels.

        Args:
            labels: (H, W) of whole numbers.

        Returns:
            (C, H, W) float32 of zeros and ones.

        Raises:
            MaskError: The labels are no such array, or have numbers that are no class; it names them.
        """
        self.check(labels)
        numbers = np.arange(1, self.channels + 1)[:, None, None]
        return np.asarray(labels == numbers, np.float32)

    def decode(self, channels: NDArray[np.floating]) -> Labels:
        """Makes labels of shares: each pixel takes the class with the largest, background being what is left of 1.

        A tie goes to the background, then to the class with the lower number.

        Args:
            channels: (C, H, W), in [0, 1].

        Raises:
            MaskError: The number of channels is not that of the classes.
        """
        self._check_channels(channels)
        background = 1 - channels.sum(axis=0, keepdims=True)
        return np.asarray(np.concatenate([background, channels]).argmax(axis=0), np.uint8)

    def resize(self, channels: NDArray[np.floating], size_px: tuple[int, int]) -> Channels:
        """Brings channels to another size: each pixel holds the share of its area that each class covers.

        Nothing is sampled at points, so thin structures fade instead of falling apart, and the mean of every channel
        stays as it is.

        Args:
            channels: (C, H, W).
            size_px: Wanted (height, width).

        Returns:
            (C, height, width) float32; where channels added up to at most 1, they still do.

        Raises:
            MaskError: The number of channels is not that of the classes, or the size is not positive.
        """
        self._check_channels(channels)
        return resize_by_area(channels, size_px)

    def resize_labels(self, labels: Numbers, size_px: tuple[int, int]) -> Labels:
        """Brings labels to another size (height, width): each pixel takes the class that covers most of its area.

        Raises:
            MaskError: As for `encode` and `resize`.
        """
        return self.decode(self.resize(self.encode(labels), size_px))

    def split(self, labels: Numbers) -> dict[str, NDArray[np.bool_]]:
        """The mask (H, W) of each class by its name, also of those that are not there.

        Raises:
            MaskError: As for `encode`.
        """
        self.check(labels)
        return {name: labels == number for number, name in enumerate(self.classes.names, 1)}

    def join(self, masks: Mapping[str, NDArray[np.bool_]]) -> Labels:
        """Makes labels of masks (H, W) by class name; where they overlap, the class with the higher number is seen.

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
        """Shows labels in their classes' colours on black, (H, W, 3) uint8.

        Raises:
            MaskError: As for `encode`.
        """
        self.check(labels)
        return self._palette()[labels.astype(np.uint8)]

    def read_colours(self, picture: Image) -> Labels:
        """Makes labels of a picture in the classes' colours on black.

        Raises:
            MaskError: The picture is not (H, W, 3) uint8, or has other colours; it names up to three of them.
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
        """Makes sure that labels are (H, W), of whole numbers that each mean a class.

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
        return np.array([(0, 0, 0), *(each.colour for each in self.classes.classes)], np.uint8)
