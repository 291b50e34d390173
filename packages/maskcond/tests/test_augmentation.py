import numpy as np
import pytest

from maskcond import Augmentation, Image, Instances, MaskError, augment

EVERYTHING = Augmentation(crop_px=64, rotation_degrees=15, elastic_px=2, elastic_scale_px=8, colour=0.2)


@pytest.fixture
def picture() -> Image:
    """A picture whose red and green tell each pixel's place: 2 a column and 1 a row."""
    rows, cols = np.indices((100, 120))
    return np.stack([2 * cols, rows, np.full_like(rows, 90)], axis=-1).astype(np.uint8)


@pytest.fixture
def places() -> Instances:
    """A mask in which every pixel has a number of its own."""
    return np.arange(100 * 120, dtype=np.int32).reshape(100, 120)


@pytest.mark.parametrize("seed", range(12))
def test_image_and_mask_move_alike(picture: Image, places: Instances, seed: int) -> None:
    settings = Augmentation(crop_px=64, rotation_degrees=20, elastic_px=3, elastic_scale_px=10)
    image, mask = augment(picture, places, settings, np.random.default_rng(seed))
    rows, cols = np.divmod(mask, 120)
    # The mask is read at the nearest pixel, the image between pixels: half a pixel apart at most, and rounding.
    assert np.abs(image[..., 0] - 2.0 * cols).max() <= 1.5
    assert np.abs(image[..., 1] - 1.0 * rows).max() <= 1.0


def test_the_scale_changes_within_its_limits_in_both_directions(picture: Image, places: Instances) -> None:
    settings = Augmentation(crop_px=40, scale=0.25, dihedral=False)
    steps = []
    for seed in range(40):
        image, mask = augment(picture, places, settings, np.random.default_rng(seed))
        cols = mask % 120
        assert np.abs(image[..., 0] - 2.0 * cols).max() <= 1.5
        steps.append((cols[0, -1] - cols[0, 0]) / 39)  # 1: neither enlarged nor reduced
    assert 0.77 < min(steps) < 0.85
    assert 1.18 < max(steps) < 1.28


@pytest.mark.parametrize("seed", range(12))
def test_crops_and_flips_are_exact(picture: Image, places: Instances, seed: int) -> None:
    image, mask = augment(picture, places, Augmentation(crop_px=40), np.random.default_rng(seed))
    assert image.shape == (40, 40, 3)
    np.testing.assert_array_equal(image, picture[np.divmod(mask, 120)])
    assert np.unique(mask).size == 1600
    assert image.flags.c_contiguous


def test_all_eight_orientations_and_every_corner_come_up() -> None:
    mask = np.arange(9, dtype=np.uint8).reshape(3, 3)
    image = np.zeros((3, 3, 3), np.uint8)
    generator = np.random.default_rng(0)
    turned = {augment(image, mask, Augmentation(), generator)[1].tobytes() for _ in range(100)}
    assert len(turned) == 8
    single = Augmentation(crop_px=1, dihedral=False)
    assert {int(augment(image, mask, single, generator)[1][0, 0]) for _ in range(200)} == set(range(9))


def test_no_number_is_made_up(nuclei: Instances) -> None:
    image = np.zeros((*nuclei.shape, 3), np.uint8)
    sparse = (nuclei * 1000).astype(np.uint16)
    for seed in range(5):
        _, mask = augment(image, sparse, EVERYTHING, np.random.default_rng(seed))
        assert mask.dtype == np.uint16
        assert set(np.unique(mask)) <= set(np.unique(sparse))


def test_colours_shift_without_the_mask_and_white_stays_white(picture: Image, places: Instances) -> None:
    picture[:10, :10] = 255
    settings = Augmentation(dihedral=False, colour=0.3)
    image, mask = augment(picture, places, settings, np.random.default_rng(1))
    np.testing.assert_array_equal(mask, places)
    assert (image[:10, :10] == 255).all()
    assert (image != picture).mean() > 0.5
    # Within a colour, what was darker stays darker.
    for channel in range(3):
        order = np.argsort(picture[..., channel], axis=None)
        assert (np.diff(image[..., channel].ravel()[order].astype(int)) >= 0).all()


def test_points_move_as_far_as_asked() -> None:
    columns = np.broadcast_to(np.arange(400, dtype=np.int32), (400, 400))
    settings = Augmentation(elastic_px=5, elastic_scale_px=6, dihedral=False)
    _, mask = augment(np.zeros((400, 400, 3), np.uint8), columns, settings, np.random.default_rng(0))
    assert (mask - columns)[40:-40, 40:-40].std() == pytest.approx(5, rel=0.15)


def test_the_generator_decides(picture: Image, places: Instances) -> None:
    runs = [augment(picture, places, EVERYTHING, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    for first, second in zip(runs[0], runs[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert (runs[0][1] != runs[2][1]).any()


def test_nothing_asked_changes_nothing(picture: Image, places: Instances) -> None:
    image, mask = augment(picture, places, Augmentation(dihedral=False), np.random.default_rng(0))
    np.testing.assert_array_equal(image, picture)
    np.testing.assert_array_equal(mask, places)


def test_what_does_not_fit_is_refused(picture: Image, places: Instances) -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(MaskError, match=r"differ in size: \(100, 120\) and \(99, 120\)"):
        augment(picture, places[1:], Augmentation(), generator)
    with pytest.raises(MaskError, match="at least 128 x 128 px, got 120 x 100"):
        augment(picture, places, Augmentation(crop_px=128), generator)
    with pytest.raises(MaskError, match="whole numbers"):
        augment(picture, places / 2, Augmentation(), generator)
    with pytest.raises(MaskError, match=r"\(H, W, 3\) of uint8"):
        augment(picture[..., 0], places, Augmentation(), generator)


@pytest.mark.parametrize(
    "settings",
    [{"crop_px": 0}, {"rotation_degrees": -1}, {"elastic_px": -1}, {"elastic_scale_px": 0}, {"colour": 1}],
)
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(MaskError, match="wanted a"):
        Augmentation(**settings)
