"""Sampling of many images from many masks: batches, variants, independent seeds."""

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
    """An image sampled from a mask.

    Args:
        mask: Index of its mask.
        variant: Index of the image among those of its mask.
        given: Its conditions; None if it was sampled without.
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
    """Samples images from masks, in the order of the masks and of the variants of each.

    The noise of an image depends on its mask's seed and its variant only: apart from rounding, the batch and the other
    images do not matter. To sample one mask as every tissue, pass it several times with one seed:

        tissues = list(KUMAR_CONDITIONS.each("tissue"))
        sample_images(model, [mask] * len(tissues), tissues, seeds=[7] * len(tissues))

    Args:
        model: The mask-conditioned cascade.
        masks: Labels (H, H), of any size; resized for each stage.
        given: Conditions of each mask; if None, the networks get their null embedding.
        variants: Number of images of each mask.
        seeds: Seed of each mask; by default, its index.
        steps: Steps of each stage; by default, the stage's own.
        guidance: Guidance weight; by default, the stage's own.
        batch_size: Images sampled together.

    Yields:
        The images.

    Raises:
        MaskError: A number is not positive; the numbers of seeds and masks differ; a seed is negative; or a mask is not
            square or contains a number that is no class.
        ConditionError: The numbers of conditions and masks differ, or a condition is unknown.
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
