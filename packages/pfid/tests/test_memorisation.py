import numpy as np
import pytest
from numpy.typing import NDArray

from pfid import FeatureError, array_images, closest_pairs_picture, memorisation

SHADES = ([0, 50, 100, 150], [101, 50, 210])


def images_of(seed: int, count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, 6))


def test_planted_copies_are_found_with_the_images_they_are_of() -> None:
    train, held_out, fake = images_of(0, 300), images_of(1, 200), images_of(2, 100)
    fake[::4] = train[100:125] + 1e-3
    found = memorisation(train=train, fake=fake, held_out=held_out)
    assert set(range(0, 100, 4)) <= set(found.copies)
    assert (found.nearest[::4] == np.arange(100, 125)).all()
    assert {pair.fake for pair in found.closest(25)} == set(range(0, 100, 4))
    assert 0.25 <= found.share < 0.25 + 3 * 0.05
    assert found.p_value < 1e-3


@pytest.mark.parametrize("quantile", [0.05, 0.2])
def test_a_model_that_copies_nothing_has_the_share_that_real_images_have(quantile: float) -> None:
    train, fake = images_of(0, 1000), images_of(2, 2000)
    held_out = memorisation(train=train, fake=fake, held_out=images_of(1, 2000), quantile=quantile)
    left_out = memorisation(train=train, fake=fake, quantile=quantile)
    for found in (held_out, left_out):
        # Two training images can be each other's nearest, at the same distance.
        assert (found.real_distances <= found.threshold).mean() == pytest.approx(quantile, abs=0.0015)
        assert found.share == pytest.approx(quantile, rel=0.35)
        assert found.p_value > 1e-3
    assert (held_out.against, left_out.against) == ("held-out", "training")


@pytest.mark.parametrize("noise", [0, 1e-6])
@pytest.mark.parametrize("times", [2, 3])
def test_training_images_that_are_there_twice_do_not_set_the_threshold(times: int, noise: float) -> None:
    train, fake = images_of(0, 60), np.concatenate([images_of(0, 60)[:3] + 0.1, images_of(1, 5)])
    once = memorisation(train=train, fake=fake)
    # some images are there again, next to the others and with what another batch does to float32 features
    again = np.concatenate([train, *[train[:10] + noise * images_of(seed, 10) for seed in range(1, times)]])
    found = memorisation(train=again, fake=fake)
    assert {0, 1, 2} <= set(found.copies) == set(once.copies)
    assert found.threshold == pytest.approx(once.threshold, abs=1e-5)
    assert (once.duplicates, found.duplicates) == (0, 10 * (times - 1))
    assert len(found.real_distances) == 60
    everything_twice = memorisation(train=np.concatenate([train, train]), fake=fake)
    assert (everything_twice.threshold, everything_twice.duplicates) == (once.threshold, 60)


def test_held_out_images_that_were_trained_on_do_not_set_the_threshold() -> None:
    train, held_out, fake = images_of(0, 60), images_of(1, 40), images_of(2, 30)
    fake[:5] = train[:5] + 0.1
    once = memorisation(train=train, fake=fake, held_out=held_out)
    found = memorisation(train=train, fake=fake, held_out=np.concatenate([train[:8], held_out]))
    assert (found.threshold, found.copies.tolist(), found.duplicates) == (once.threshold, once.copies.tolist(), 8)


def test_too_few_real_images_for_the_quantile_are_refused() -> None:
    train, fake = images_of(0, 30), images_of(1, 30)
    with pytest.raises(FeatureError, match=r"19 held-out images .* takes 20 or more"):
        memorisation(train=train, fake=fake, held_out=train[:19])
    with pytest.raises(FeatureError, match=r"30 of 30 held-out images are duplicates of training .* takes 20 or more"):
        memorisation(train=train, fake=fake, held_out=train)
    with pytest.raises(FeatureError, match=r"29 of 30 training images are duplicates of training images"):
        memorisation(train=np.ones((30, 6)), fake=fake)
    with pytest.raises(FeatureError, match="30 training images"):
        memorisation(train=train, fake=fake, quantile=0.01)
    with pytest.raises(FeatureError, match="between 0 and 1"):
        memorisation(train=train, fake=fake, quantile=0)


def test_the_picture_shows_the_closest_pairs_side_by_side() -> None:
    train, fake = (array_images([np.full((20, 20, 3), shade, np.uint8) for shade in shades]) for shades in SHADES)
    features = [np.array(shades, np.float64)[:, None] for shades in SHADES]
    found = memorisation(train=features[0], fake=features[1], quantile=0.5)
    picture = closest_pairs_picture(found, train=train, fake=fake, count=3, across=2, image_px=50)
    middles = [(picture[33, x, 0], picture[33, x + 54, 0]) for x in (33, 33 + 116)]
    assert middles == [(50, 50), (101, 100)]
    assert picture.shape == (2 * (50 + 32 + 8) + 8, 2 * 116 + 8, 3)
