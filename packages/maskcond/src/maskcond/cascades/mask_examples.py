"""Training examples for mask-conditioned cascades: crops with or without masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.cascades.class_balance import BalancedCrops, ClassBalance
from maskcond.cascades.mask_channels import MaskChannels, Shows
from maskcond.conditions import ConditionSet, Embedding
from maskcond.errors import ConditionError, MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.codec import MaskCodec
from maskcond.masks.colours import COLOUR_STATISTICS, colour_statistics, shift_colour

ANYWHERE = ClassBalance(share=0.0)


class MaskExamples:
    """Random crops of images with their masks and conditions, for `cdm_core.train_stage`.

    Image and mask are augmented together, then resized to the cascade's images by area. An image without labels gives
    examples with a blank mask. The n-th example is always the same.

    Args:
        images: The images; all are equally likely, unless `balance` says otherwise.
        codec: Codec of their labels.
        image_px: Side of the cascade's largest images.
        augmentation: Augmentation of crops; it needs `crop_px`.
        conditions: Conditions of the cascade besides the mask; None: no conditions. Those of `COLOUR_STATISTICS` are
            measured from the image of which an example is a crop, and follow the augmentation of its colours.
        seed: Seed of the random crops.
        drop_condition: Share of the examples in which a condition is left out, independently for each condition; the
            colour statistics count as one.
        balance: Distribution of the crops; by default, uniform over all images.
        blank: Whether to ignore the masks.
        shows: What the channels of the masks show, see `MaskChannels`.

    Raises:
        MaskError: There are no images, `crop_px` is missing or smaller than `image_px`, or the classes cannot be shown
            so.
        ConditionError: `drop_condition` is not in [0, 1].
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        codec: MaskCodec,
        *,
        image_px: int,
        augmentation: Augmentation,
        conditions: ConditionSet | None = None,
        seed: int = 0,
        drop_condition: float = 0.0,
        balance: ClassBalance = ANYWHERE,
        blank: bool = False,
        shows: Shows | None = None,
    ) -> None:
        if not len(images):
            raise MaskError("no image to train on")
        if augmentation.crop_px is None or augmentation.crop_px < image_px:
            raise MaskError(f"wanted crops of at least image_px = {image_px}, got crop_px = {augmentation.crop_px}")
        if not 0 <= drop_condition <= 1:
            raise ConditionError(f"wanted drop_condition in [0, 1], got {drop_condition}")
        self.images, self.image_px, self.augmentation = images, image_px, augmentation
        self.channels = MaskChannels(codec, shows)
        self.conditions, self.seed, self.drop_condition, self.blank = conditions, seed, drop_condition, blank
        self.crops = BalancedCrops(images, codec, augmentation.crop_px, balance)
        self._colours: dict[int, Mapping[str, float]] = {}

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Returns an example, see `cdm_core.Examples`.

        Raises:
            MaskError: The image is smaller than a crop, or its labels contain a number that is no class.
            ConditionError: A condition has an unknown value.
        """
        generator = np.random.default_rng([self.seed, number])
        index, window = self.crops.draw(generator)
        source = self.images[index]
        labels = np.zeros(source.image.shape[:2], np.uint8) if source.labels is None else source.labels
        is_blank = self.blank or source.labels is None
        try:
            image, mask = augment(source.image[window], labels[window], replace(self.augmentation, colour=0), generator)
            image, factors = shift_colour(image, self.augmentation.colour, generator)
            channels = self.channels.encode(None if is_blank else mask.astype(np.uint8), self.image_px)
        except MaskError as error:
            raise MaskError(f"{source.name}: {error}") from None
        pixels = resize_by_area(image.transpose(2, 0, 1) / np.float32(255), (self.image_px, self.image_px))
        example = {"image": torch.from_numpy(pixels), "cond_images": channels}
        if self.conditions is not None:
            example["embedding"] = torch.from_numpy(self._embedding(self.conditions, index, factors, generator))
        return example

    def _embedding(
        self, conditions: ConditionSet, index: int, factors: NDArray[np.float64], generator: np.random.Generator
    ) -> Embedding:
        """Encodes the conditions of an image whose colours are changed by factors, without the dropped ones."""
        given, names = self.images[index].given, [part.name for part in conditions.parts]
        others = [name for name in names if name not in COLOUR_STATISTICS]
        kept = {name: given.get(name) for name in others if generator.random() >= self.drop_condition}
        if len(others) < len(names) and generator.random() >= self.drop_condition:
            measured = zip(self._measured(index).items(), np.repeat(factors, 2), strict=True)
            kept |= {name: value * factor for (name, value), factor in measured if name in names}
        return conditions.encode(kept)

    def _measured(self, index: int) -> Mapping[str, float]:
        if index not in self._colours:
            self._colours[index] = colour_statistics(self.images[index].image)
        return self._colours[index]
