"""Implausible pairs, copies and duplicates are left out, and the others are not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskcond import Image, Instances, connected_components
from maskcond.enrichment import EnrichmentError
from maskcond.enrichment.config import FilterConfig
from maskcond.enrichment.pairs.dropped_picture import dropped_picture
from maskcond.enrichment.pairs.filtering import (
    Filtered,
    Judged,
    Limits,
    Reason,
    judge,
    looks_of,
    median_area,
    real_limits,
)
from maskcond.enrichment.pairs.nearness import find_nearest, part_thumbs, random_crop
from maskcond.enrichment.pairs.thumbnails import ImageParts

SIDE = 48


def texture(seed: int, side_px: int) -> Image:
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(60, 220, (side_px // 6, side_px // 6, 3)), np.ones((6, 6, 1)))
    return (coarse + rng.normal(0, 4, coarse.shape)).clip(0, 255).astype(np.uint8)


def darkened(image: Image) -> Image:
    return (image.astype(int) - 55).clip(0, 255).astype(np.uint8)


def disks(seed: int, side_px: int, radius: float = 5, count: int = 8) -> Instances:
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((side_px, side_px))
    places = rng.uniform(radius, side_px - radius, (count, 2))
    mask: NDArray[np.bool_] = np.any([(rows - y) ** 2 + (cols - x) ** 2 < radius**2 for y, x in places], axis=0)
    return connected_components(mask)


# a mask as real ones are
USUAL = disks(0, SIDE, radius=4, count=4)
REAL = [(f"real-{seed}", texture(seed, 144), disks(seed, 144, count=60)) for seed in range(3)]


@pytest.fixture(scope="module")
def training() -> list[ImageParts]:
    return part_thumbs([(name, image) for name, image, _ in REAL], SIDE)


@pytest.fixture(scope="module")
def limits(training: list[ImageParts]) -> Limits:
    return real_limits(REAL, training, SIDE, FilterConfig(crops=200), nuclei=True, seed=0)


def reasons(images: Sequence[Image], masks: Sequence[Instances], training: object, limits: Limits) -> list[object]:
    return [each.reason for each in judge(images, masks, training, limits)]  # type: ignore[arg-type]


def test_new_images_with_masks_like_real_ones_are_kept(training: object, limits: Limits) -> None:
    images = [texture(seed, SIDE) for seed in range(100, 120)]
    masks = [random_crop(REAL[seed % 3][2], SIDE, np.random.default_rng(seed)) for seed in range(20)]
    kept = reasons(images, masks, training, limits).count(None)
    assert kept >= 18  # by the limits' shares, at most a few of the real crops lie outside


def test_samples_may_have_the_colours_of_images_without_masks(training: list[ImageParts]) -> None:
    darker = [("dark", darkened(texture(7, 144)))]
    both = part_thumbs([*((name, image) for name, image, _ in REAL), *darker], SIDE)
    settings = FilterConfig(crops=200)
    without, limits = (
        real_limits(REAL, training, SIDE, settings, nuclei=True, seed=0),
        real_limits(REAL, both, SIDE, settings, nuclei=True, seed=0, more=darker),
    )
    sample = darkened(texture(105, SIDE))
    assert reasons([sample], [USUAL], training, without) == [Reason.LOOKS]
    assert reasons([sample], [USUAL], both, limits) == [None]
    assert limits.size_px is not None  # of the masks of the others


def test_masks_that_no_real_image_has_are_left_out(training: object, limits: Limits) -> None:
    image = texture(100, SIDE)
    nothing, everything = np.zeros((SIDE, SIDE), np.int32), np.ones((SIDE, SIDE), np.int32)
    specks = np.zeros((SIDE, SIDE), np.int32)
    specks[::3, ::3] = np.arange(1, specks[::3, ::3].size + 1).reshape(specks[::3, ::3].shape)
    specks[2:20, 2:20][specks[2:20, 2:20] == 0] = specks.max() + 1
    found = reasons([image] * 3, [nothing, everything, specks], training, limits)
    assert found == [Reason.EMPTY, Reason.FOREGROUND, Reason.SIZE]


def test_noise_blur_and_strange_colours_are_left_out(training: object, limits: Limits) -> None:
    usual = texture(100, SIDE)
    noise = np.random.default_rng(0).integers(0, 256, usual.shape).astype(np.uint8)
    blurred = np.broadcast_to(usual.mean(axis=(0, 1)), usual.shape).astype(np.uint8)
    green = (usual * (0.4, 1.0, 0.4)).astype(np.uint8)
    found = reasons([usual, noise, blurred, green], [USUAL] * 4, training, replace(limits, copy=None))
    assert found == [None, Reason.LOOKS, Reason.LOOKS, Reason.LOOKS]


def test_looks_are_mean_colours_and_the_steps_between_neighbours() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = (30, 60, 90)  # grey 60: two steps of 60 across, two of 0 down
    assert looks_of(image) == (15, 30, 45, 30)


@pytest.mark.parametrize("way", ["as it is", "turned", "flipped", "noisy", "a little moved"])
def test_copies_of_training_images_are_found(training: object, limits: Limits, way: str) -> None:
    moved = 1 if way == "a little moved" else 0
    part = REAL[1][1][36 + moved : 36 + moved + SIDE, 60 : 60 + SIDE]
    copies = {
        "turned": np.rot90(part),
        "flipped": part[:, ::-1],
        "noisy": (part + np.random.default_rng(0).normal(0, 10, part.shape)).clip(0, 255).astype(np.uint8),
    }
    (judged,) = judge([copies.get(way, part)], [USUAL], training, limits)  # type: ignore[arg-type]
    assert judged.reason is Reason.COPY
    assert judged.nearest == "real-1"


def test_of_duplicates_the_first_is_kept(training: object, limits: Limits) -> None:
    image, other = texture(100, SIDE), texture(101, SIDE)
    judged = judge([image, other, image[::-1]], [USUAL] * 3, training, limits)  # type: ignore[arg-type]
    assert [each.reason for each in judged] == [None, None, Reason.DUPLICATE]
    assert judged[2].twin == 0


def test_one_training_image_has_no_other_to_tell_what_is_near() -> None:
    alone = part_thumbs([REAL[0][:2]], SIDE)
    limits = real_limits(REAL[:1], alone, SIDE, FilterConfig(crops=20), nuclei=True, seed=0)
    assert limits.copy is None
    image = REAL[0][1][:SIDE, :SIDE]
    assert reasons([image, image], [USUAL] * 2, alone, limits) == [None, Reason.DUPLICATE]


def test_classes_have_no_size(training: object) -> None:
    limits = real_limits(REAL, training, SIDE, FilterConfig(crops=20), nuclei=False, seed=0)  # type: ignore[arg-type]
    assert limits.size_px is None


def test_the_nearest_part_is_at_no_distance_from_itself(training: list[ImageParts]) -> None:
    (found,) = find_nearest([REAL[2][1][-SIDE:, -SIDE:]], training)
    assert found.name == "real-2"
    assert found.distance == pytest.approx(0, abs=1e-3)


def test_training_images_smaller_than_the_samples_are_refused() -> None:
    with pytest.raises(EnrichmentError, match="144 x 144 px is smaller than the samples, 150 px"):
        random_crop(REAL[0][1], 150, np.random.default_rng(0))


def test_median_areas() -> None:
    mask = np.array([[0, 1, 1, 7], [2, 0, 1, 7]])
    assert median_area(mask) == 2  # of 3, 1 and 2
    assert median_area(np.zeros((2, 2), np.int32)) is None


def test_what_was_found_is_the_same_from_its_file(tmp_path: Path) -> None:
    pairs = (Judged(0, 0.25, 30.0, "real-1", 12.5), Judged(1, 0.25, 30.0, "real-1", 12.5, Reason.DUPLICATE, 0))
    ends = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0))
    pairs = (*pairs, Judged(2, 0.25, 30.0, "real-1", 12.5, Reason.LOOKS, looks=(1.5, 3.5, 9.0, 7.5)))
    found = Filtered(Limits((0.1, 0.5), (10.0, 90.0), 5.0, ends), pairs)
    found.save(tmp_path / "pairs.json")
    assert Filtered.load(tmp_path / "pairs.json") == found
    assert found.kept == [0]
    assert found.counts()["duplicate of another sample"] == 1


def test_a_picture_of_what_was_left_out() -> None:
    images, masks = [texture(seed, SIDE) for seed in range(3)], [disks(seed, SIDE) for seed in range(3)]
    limits = Limits((0.1, 0.5), None, None)
    kept = Judged(0, 0.25, 30.0, "a", 12.5)
    assert dropped_picture(Filtered(limits, (kept,)), images, masks) is None
    left_out = (kept, Judged(1, 0.0, None, "a", 9.0, Reason.EMPTY), Judged(2, 0.9, 3.0, "a", 9.0, Reason.FOREGROUND))
    picture = dropped_picture(Filtered(limits, left_out), images, masks)
    assert picture is not None
    assert picture.shape[0] > 2 * 128
