"""Random crops by the two published protocols."""

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pfid.crops.plan import CropPlan, PlannedSide, Protocol, WhiteRule
from pfid.errors import PlanError, check_whole
from pfid.images.sources import Images, listed


def plan_crops(
    *,
    real: Images,
    fake: Images,
    protocol: Protocol = "any-resolution",
    count: int = 50_000,
    patch_px: int = 256,
    size_min: int | None = None,
    size_max: int = 0,
    white: WhiteRule | None = None,
    seed: int = 0,
) -> CropPlan:
    """Plans the crops of a patch-FID, of the same scales and places on both sides.

    A scale s ~ U(size_min, the largest allowed) is sampled for each crop; a square of the image is resized to round(s),
    and a patch is cut from it at a random position in [0, round(s) - patch_px]. Images are paired at random, each as
    often as the others of its side, give or take one. The protocols differ in the square:

    - 'any-resolution': each image's largest square, at a random position. A scale is the same share of either image, so
      images of different sizes, such as whole slides, are seen at different magnifications.
    - 'paired': squares of the smallest of the four sides of a pair, each at a random position. Both crops then cover
      equally many pixels of their images.

    The original samples a scale for the real image, and the generator makes images at that scale. Here both images
    exist, so the scale is no larger than either square: nothing is enlarged.

    Args:
        real: The real images.
        fake: The generated ones.
        protocol: 'any-resolution' or 'paired'.
        count: Number of crops on each side.
        patch_px: Side of the patches, p.
        size_min: Smallest scale, at least the side of a patch, which is the default.
        size_max: Largest scale; 0 for that of the images.
        white: Leaves out pairs with a white crop when they are read; None keeps all.
        seed: The same seed, settings, names and sizes give the same plan.

    Raises:
        PlanError: Settings that contradict each other, or images too small for them.

    Source: Chai et al. 2022, 'Any-resolution training for high-resolution image synthesis', section 4.1, for
        'any-resolution'.
    """
    size_min = patch_px if size_min is None else size_min
    count, patch_px = check_whole("count", count, 2, PlanError), check_whole("patch_px", patch_px, 1, PlanError)
    size_min, size_max = (
        check_whole("size_min", size_min, 1, PlanError),
        check_whole("size_max", size_max, 0, PlanError),
    )
    seed = check_whole("seed", seed, 0, PlanError)
    if protocol not in get_args(Protocol):
        raise PlanError(f"wanted a protocol of {', '.join(get_args(Protocol))}, got {protocol}")
    if size_min < patch_px or (size_max and size_max < size_min):
        raise PlanError(
            f"wanted patch_px <= size_min <= size_max (or 0), got {patch_px} px, sizes {size_min} to {size_max}"
        )
    for images in (real, fake):
        small = [
            f"{name} ({size[0]} x {size[1]} px)"
            for name, size in zip(images.names, images.sizes, strict=True)
            if min(size) < size_min
        ]
        if small:
            raise PlanError(f"{len(small)} of {len(images)} images are smaller than {size_min} px: {listed(small)}")
    rng = np.random.default_rng(seed)
    chosen = [_each_as_often(len(images), count, rng) for images in (real, fake)]
    sizes = [np.array(images.sizes)[image] for images, image in zip((real, fake), chosen, strict=True)]
    squares = [size.min(axis=1) for size in sizes]
    smaller = np.minimum(*squares)
    if protocol == "paired":
        squares = [smaller, smaller]
    largest = np.minimum(smaller, size_max) if size_max else smaller
    scale = np.rint(rng.uniform(size_min, largest)).astype(np.int32)
    window = rng.integers(0, (scale - patch_px)[:, None], (count, 2), endpoint=True, dtype=np.int32)
    planned = [
        PlannedSide(
            images.names,
            images.sizes,
            image.astype(np.int32),
            rng.integers(0, size - square[:, None], endpoint=True, dtype=np.int64).astype(np.int32),
            square.astype(np.int32),
        )
        for images, image, size, square in zip((real, fake), chosen, sizes, squares, strict=True)
    ]
    return CropPlan(protocol, patch_px, size_min, size_max, seed, white, scale, window, *planned)


def _each_as_often(images: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of images in random order, each as often as the others, give or take one."""
    rounds = [rng.permutation(images) for _ in range(-(-count // images))]
    return np.concatenate(rounds)[:count]
