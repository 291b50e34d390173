"""Training images that show the same pixels do not tell how near images of their own are."""

import io

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from maskcond import Image
from maskcond.enrichment.config import FilterConfig
from maskcond.enrichment.pairs.filtering import real_limits
from maskcond.enrichment.pairs.nearness import copy_limit, part_thumbs
from maskcond.enrichment.pairs.repeats import find_repeats
from maskcond.enrichment.pairs.thumbnails import ImageParts

SIDE = 32


def tissue(seed: int, height: int = 96, width: int = 96) -> Image:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width, 3)), (3, 3, 0))
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth) * 255, np.uint8)


def recompressed(image: Image) -> Image:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
    return np.asarray(PIL.Image.open(file))


WIDE = tissue(0, 96, 170)
IMAGES = [("a", WIDE[:, :96]), ("b", tissue(1)), ("c", tissue(2))]
AGAIN = {
    "another name": IMAGES[0][1],
    "turned": np.rot90(IMAGES[0][1]),
    "flipped": IMAGES[0][1][:, ::-1],
    "recompressed": recompressed(IMAGES[0][1]),
    "recompressed and turned": recompressed(np.rot90(IMAGES[0][1], 3)),
    "overlapping by a third": WIDE[:, 61:157],
    "overlapping and flipped": WIDE[::-1, 61:157],
    "part of it": IMAGES[0][1][5:45, 7:60],
}


@pytest.fixture(scope="module")
def parts() -> list[ImageParts]:
    return part_thumbs(IMAGES, SIDE)


def limit_of(training: list[ImageParts]) -> float:
    limit = copy_limit(IMAGES, training, SIDE, share=0.02, crops=40, generator=np.random.default_rng(0))
    assert limit is not None
    return limit


@pytest.fixture(scope="module")
def limit_once(parts: list[ImageParts]) -> float:
    return limit_of(parts)


@pytest.mark.parametrize("way", AGAIN)
def test_a_training_image_that_is_there_twice_does_not_set_the_limit(
    way: str, parts: list[ImageParts], limit_once: float
) -> None:
    training = [*parts, *part_thumbs([("again", AGAIN[way])], SIDE)]
    assert find_repeats([image for _, image in IMAGES], training) == [{0, 3}, {1}, {2}]
    # what the other one shows besides may be near the others, as any image may
    assert 0.8 * limit_once < limit_of(training) <= limit_once


def test_another_image_of_the_same_name_is_not_a_repeat(parts: list[ImageParts]) -> None:
    training = [*parts, *part_thumbs([("a", tissue(4))], SIDE)]
    assert find_repeats([image for _, image in IMAGES], training) == [{0}, {1}, {2}]


def test_bare_glass_does_not_set_the_limit() -> None:
    glass = [(name, np.concatenate([image, np.full((96, 32, 3), 240, np.uint8)], 1)) for name, image in IMAGES]
    training = part_thumbs(glass, SIDE)
    assert find_repeats([image for _, image in glass], training) == [{0}, {1}, {2}]
    limit = copy_limit(glass, training, SIDE, share=0.02, crops=20, generator=np.random.default_rng(0))
    assert limit is not None
    assert limit > 1


def test_nothing_to_compare_with_is_no_limit() -> None:
    training = part_thumbs([IMAGES[0], ("again", IMAGES[0][1])], SIDE)
    assert copy_limit(IMAGES[:1], training, SIDE, share=0.02, crops=5, generator=np.random.default_rng(0)) is None


@pytest.mark.parametrize(("more", "count"), [([], 0), ([("again", AGAIN["turned"]), ("e", tissue(4))], 2)])
def test_repeats_are_counted(parts: list[ImageParts], more: list[tuple[str, Image]], count: int) -> None:
    real = [(name, image, np.ones((96, 96), np.int32)) for name, image in IMAGES]
    training = [*parts, *part_thumbs(more, SIDE)]
    assert real_limits(real, training, SIDE, FilterConfig(crops=4), nuclei=True, seed=0).repeats == count
