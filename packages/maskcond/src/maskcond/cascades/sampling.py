"""Many images from many masks: batches, variants, and seeds that let no image depend on another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdm_core import to_uint8
from maskcond.cascades.mask_cascade import MaskCascade
from maskcond.conditions import Given
from maskcond.errors import ConditionError, MaskError
from maskcond.masks.arrays import Image, Labels
from maskcond.seeds import image_generator


@dataclass(frozen=True, eq=False)
class SampledImage:
    """An image drawn from a mask.

    Args:
        mask: Number of its mask, from 0.
        variant: Number of the image among those of its mask, from 0.
        given: Conditions that it was drawn with; None if the model was told of none.
        image: (S, S, 3) uint8 RGB.
    """

    mask: int
    variant: int
    given: Given | None
    image: Image


def sample_images(
    model: MaskCascade,
    masks: Sequence[Labels],
    given: Sequence[Given] | None = None,
    *,
    variants: int = 1,
    seeds: Sequence[int] | None = None,
    steps: int | Sequence[int] | None = None,
    guidance: float | None = None,
    batch_size: int = 16,
) -> Iterator[SampledImage]:
    """Draws images from masks, in the order of the masks, and of the variants of each.

    All noise of an image comes from its mask's seed and its variant, so that it does not depend, beyond rounding, on
    the batch, or on what else is drawn. To see one mask as every tissue, give it several times with one seed:

        tissues = list(KUMAR_CONDITIONS.each("tissue"))
        sample_images(model, [mask] * len(tissues), tissues, seeds=[7] * len(tissues))

    Args:
        model: The mask-conditioned cascade.
        masks: Labels (H, H), of any size; brought to that of each stage.
        given: Conditions of each mask; if there are none, the model is told so.
        variants: Images of each mask.
        seeds: Of each mask; its number if not given.
        steps: Of each stage; its own if not given.
        guidance: Weight of the conditions; each stage's own if not given.
        batch_size: Images drawn together.

    Yields:
        The images.

    Raises:
        MaskError: A number is not positive, or there are not as many seeds as masks, or one is negative; or a mask is
            not square, or has numbers that are no class.
        ConditionError: There are not as many conditions as masks, or one is not known.
    """
    seeds = range(len(masks)) if seeds is None else seeds
    if min(variants, batch_size) < 1:
        raise MaskError(f"variants and batch_size are at least 1, got {variants} and {batch_size}")
    if len(seeds) != len(masks) or min(seeds, default=0) < 0:
        raise MaskError(f"each mask has a seed of its own from 0 up, got {len(seeds)} for {len(masks)} masks")
    if given is not None and len(given) != len(masks):
        raise ConditionError(f"each mask has conditions of its own, got {len(given)} for {len(masks)} masks")
    wanted = [(mask, variant) for mask in range(len(masks)) for variant in range(variants)]
    for start in range(0, len(wanted), batch_size):
        batch = wanted[start : start + batch_size]
        images = model.sample(
            [masks[mask] for mask, _ in batch],
            [image_generator(seeds[mask], variant) for mask, variant in batch],
            given=None if given is None else [given[mask] for mask, _ in batch],
            steps=steps,
            guidance=guidance,
        )
        for (mask, variant), image in zip(batch, to_uint8(images), strict=True):
            yield SampledImage(mask, variant, None if given is None else given[mask], image)
