"""Training examples for mask-conditioned cascades: crops with their masks, and crops without."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from maskcond.annotations.labelled_images import LabelledImage
from maskcond.cascades.class_balance import BalancedCrops, ClassBalance
from maskcond.conditions import Conditions, Embedding, Given
from maskcond.errors import ConditionError, MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Labels
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.codec import MaskCodec

ANYWHERE = ClassBalance(share=0.0)


def mask_channels(codec: MaskCodec, labels: Labels | None, side_px: int) -> Tensor:
    """Makes what a network sees of a mask, (C + 1, side_px, side_px) in [0, 1]: its classes, then 'a mask is given'.

    Without labels all is zero. 'No mask' so is not told like a mask that is all background, which says that there is
    no structure; and to a widened network it is no input at all, so that it goes on as the unconditional one that it
    was.

    Raises:
        MaskError: The labels are not square, or have numbers that are no class.
    """
    channels = torch.zeros(codec.channels + 1, side_px, side_px)
    if labels is not None:
        if labels.shape[0] != labels.shape[1]:
            raise MaskError(f"wanted a square mask, got {labels.shape[1]} x {labels.shape[0]} px")
        channels[:-1] = torch.from_numpy(codec.resize(codec.encode(labels), (side_px, side_px)))
        channels[-1] = 1
    return channels


class MaskExamples:
    """Random crops of images with what tells a network their masks and conditions, for `cdm_core.train_stage`.

    Image and mask are augmented together, then brought to the size of the cascade's images by the share of area. An
    image without labels gives examples with a blank mask. The n-th draw is always the same.

    Args:
        images: The images; each is as likely as any other, but for the balance.
        codec: Of their labels.
        image_px: Side of the cascade's largest images.
        augmentation: What happens to a crop; its `crop_px` is wanted.
        conditions: What the cascade is told beside the mask; None for nothing.
        seed: Of the draws.
        drop_condition: Share of the examples in which a condition is not told, for each condition by itself.
        balance: How crops are drawn; anywhere in any image if not given.
        blank: Whether to leave out the masks of images that have one.

    Raises:
        MaskError: There is no image, no `crop_px`, or it is smaller than `image_px`.
        ConditionError: `drop_condition` is not in [0, 1].
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        codec: MaskCodec,
        *,
        image_px: int,
        augmentation: Augmentation,
        conditions: Conditions | None = None,
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

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.Examples`.

        Raises:
            MaskError: The image is smaller than a crop, or its labels have numbers that are no class.
            ConditionError: A condition has a value that is not known.
        """
        generator = np.random.default_rng([self.seed, draw])
        index, window = self.crops.draw(generator)
        found = self.images[index]
        labels = np.zeros(found.image.shape[:2], np.uint8) if found.labels is None else found.labels
        is_blank = self.blank or found.labels is None
        try:
            image, mask = augment(found.image[window], labels[window], self.augmentation, generator)
            channels = mask_channels(self.codec, None if is_blank else mask.astype(np.uint8), self.image_px)
        except MaskError as error:
            raise MaskError(f"{found.name}: {error}") from None
        pixels = resize_by_area(image.transpose(2, 0, 1) / np.float32(255), (self.image_px, self.image_px))
        example = {"image": torch.from_numpy(pixels), "cond_images": channels}
        if self.conditions is not None:
            example["embedding"] = torch.from_numpy(self._embedding(self.conditions, found.given, generator))
        return example

    def _embedding(self, conditions: Conditions, given: Given, generator: np.random.Generator) -> Embedding:
        told = {
            part.name: given.get(part.name) for part in conditions.parts if generator.random() >= self.drop_condition
        }
        return conditions.encode(told)
