"""Training examples for mask-conditioned cascades: crops with or without masks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.cascades.class_balance import BalancedCrops, ClassBalance
from maskcond.conditions import ConditionSet, Embedding, Given
from maskcond.errors import ConditionError, MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Labels
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.codec import MaskCodec

ANYWHERE = ClassBalance(share=0.0)


def mask_channels(codec: MaskCodec, labels: Labels | None, side_px: int) -> Tensor:
    """Returns a mask as channels, (C + 1, side_px, side_px) in [0, 1]: one per class, then 'a mask is given'.

    Without labels all channels are zero. So 'no mask' differs from a mask that is all background, and a widened network
    without a mask gives the same output as the unconditional network that it was made from.

    Raises:
        MaskError: The labels are not square, or contain a number that is no class.
    """
    channels = torch.zeros(codec.channels + 1, side_px, side_px)
    if labels is not None:
        if labels.shape[0] != labels.shape[1]:
            raise MaskError(f"wanted a square mask, got {labels.shape[1]} x {labels.shape[0]} px")
        channels[:-1] = torch.from_numpy(codec.resize(codec.encode(labels), (side_px, side_px)))
        channels[-1] = 1
    return channels


class MaskExamples:
    """Random crops of images with their masks and conditions, for `cdm_core.train_stage`.

    Image and mask are augmented together, then resized to the cascade's images by area. An image without labels gives
    examples with a blank mask. The n-th example is always the same.

    Args:
        images: The images; all are equally likely, unless `balance` says otherwise.
        codec: Codec of their labels.
        image_px: Side of the cascade's largest images.
        augmentation: Augmentation of crops; it needs `crop_px`.
        conditions: Conditions of the cascade besides the mask; None: no conditions.
        seed: Seed of the random crops.
        drop_condition: Share of the examples in which a condition is left out, independently for each condition.
        balance: Distribution of the crops; by default, uniform over all images.
        blank: Whether to ignore the masks.

    Raises:
        MaskError: There are no images, `crop_px` is missing, or it is smaller than `image_px`.
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
    ) -> None:
        if not len(images):
            raise MaskError("no image to train on")
        if augmentation.crop_px is None or augmentation.crop_px < image_px:
            raise MaskError(f"wanted crops of at least image_px = {image_px}, got crop_px = {augmentation.crop_px}")
        if not 0 <= drop_condition <= 1:
            raise ConditionError(f"wanted drop_condition in [0, 1], got {drop_condition}")
        self.images, self.codec, self.image_px, self.augmentation = images, codec, image_px, augmentation
        self.conditions, self.seed, self.drop_condition, self.blank = conditions, seed, drop_condition, blank
        self.crops = BalancedCrops(images, codec, augmentation.crop_px, balance)

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
            image, mask = augment(source.image[window], labels[window], self.augmentation, generator)
            channels = mask_channels(self.codec, None if is_blank else mask.astype(np.uint8), self.image_px)
        except MaskError as error:
            raise MaskError(f"{source.name}: {error}") from None
        pixels = resize_by_area(image.transpose(2, 0, 1) / np.float32(255), (self.image_px, self.image_px))
        example = {"image": torch.from_numpy(pixels), "cond_images": channels}
        if self.conditions is not None:
            example["embedding"] = torch.from_numpy(self._embedding(self.conditions, source.given, generator))
        return example

    def _embedding(self, conditions: ConditionSet, given: Given, generator: np.random.Generator) -> Embedding:
        kept = {
            part.name: given.get(part.name) for part in conditions.parts if generator.random() >= self.drop_condition
        }
        return conditions.encode(kept)
