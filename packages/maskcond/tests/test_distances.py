import numpy as np
import pytest

from maskcond import Instances, aji, connected_components
from maskcond.masks.distances import distance_map, instances_from_distances


def test_each_nucleus_rises_from_its_edge_to_one(nuclei: Instances) -> None:
    distances = distance_map(nuclei)
    assert distances.dtype == np.float32
    assert ((distances > 0) == (nuclei > 0)).all()
    for number in np.unique(nuclei[nuclei > 0]):
        assert distances[nuclei == number].max() == 1


def test_the_edge_of_the_image_is_no_edge_of_a_nucleus() -> None:
    half = np.zeros((9, 20), np.int32)
    half[:, :5] = 1  # cut by three sides of the image
    distances = distance_map(half)
    np.testing.assert_allclose(distances[4, :6], [1, 0.8, 0.6, 0.4, 0.2, 0])
    assert (distance_map(np.ones((4, 4), np.int32)) == 1).all()
    assert (distance_map(np.zeros((4, 4), np.int32)) == 0).all()


def test_touching_nuclei_come_back_apart(nuclei: Instances) -> None:
    found = instances_from_distances(nuclei > 0, distance_map(nuclei))
    assert ((found > 0) == (nuclei > 0)).all()
    assert aji(truth=nuclei, predicted=found) > 0.85  # some nuclei cover others, of which crescents stay
    assert aji(truth=nuclei, predicted=connected_components(nuclei)) < 0.4


def test_a_map_that_is_noisy_separates_no_nucleus(nuclei: Instances) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, nuclei.shape)
    found = instances_from_distances(nuclei > 0, (distance_map(nuclei) + noise).astype(np.float32))
    assert aji(truth=nuclei, predicted=found) > 0.8


@pytest.mark.parametrize("height", [0.0, 1.0])
def test_a_foreground_without_a_maximum_stays(height: float) -> None:
    foreground = np.zeros((20, 20), bool)
    foreground[2:8, 2:8] = foreground[12:18, 12:18] = True
    found = instances_from_distances(foreground, np.full((20, 20), height, np.float32))
    assert ((found > 0) == foreground).all()
    assert found.max() == 2
