from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskcond import (
    Instances,
    MaskError,
    aji,
    border_labels,
    connected_components,
    instances_from_borders,
    read_instances,
    relabel,
    remove_fragments,
    split_parts,
)

maps = arrays.arrays(
    np.int32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=st.integers(0, 6)
)


def test_nuclei_come_back_from_border_labels_though_they_touch(nuclei: Instances) -> None:
    truth = relabel(remove_fragments(nuclei, 12))
    assert connected_components(truth).max() < truth.max() / 2
    for border_px in (1, 2):
        found = instances_from_borders(border_labels(truth, border_px))
        assert aji(truth=truth, predicted=found) > 0.92


@settings(max_examples=150, deadline=None)
@given(maps, st.integers(1, 3))
def test_borders_are_taken_from_the_objects_and_given_back(instances, border_px) -> None:
    labels = border_labels(instances, border_px)
    np.testing.assert_array_equal(labels > 0, instances > 0)
    found = instances_from_borders(labels)
    np.testing.assert_array_equal(found > 0, instances > 0)
    # Every object keeps an inside, of one piece.
    insides = np.where(labels == 1, instances, 0)
    assert set(np.unique(insides)) - {0} == set(np.unique(instances)) - {0}


def test_a_border_is_as_wide_as_asked() -> None:
    instances = np.zeros((14, 30), np.int32)
    instances[2:12, 2:12] = 1
    instances[2:12, 12:22] = 2
    for width in (1, 2, 3):
        labels = border_labels(instances, width)
        wanted = np.zeros_like(labels)
        wanted[2:12, 2:22] = 2
        for left in (2, 12):
            wanted[2 + width : 12 - width, left + width : left + 10 - width] = 1
        np.testing.assert_array_equal(labels, wanted)


def test_the_edge_of_the_image_is_no_border(nuclei: Instances) -> None:
    np.testing.assert_array_equal(border_labels(np.ones((6, 5), np.int32)), 1)
    np.testing.assert_array_equal(border_labels(np.zeros((6, 5), np.int32)), 0)
    # The labels of a crop are the crop of the labels, but where the border was moved by what was cut off.
    window = np.s_[20:100, 30:120]
    same = border_labels(nuclei[window], 1) == border_labels(nuclei, 1)[window]
    assert same.mean() > 0.99


def test_predictions_without_an_inside_are_kept_as_objects_of_their_own() -> None:
    labels = np.zeros((9, 20), np.uint8)
    labels[1:8, 1:8] = 2
    labels[3:6, 3:6] = 1
    labels[3:5, 12:15] = 2
    wanted = np.zeros((9, 20))
    wanted[1:8, 1:8] = 1
    wanted[3:5, 12:15] = 2
    np.testing.assert_array_equal(instances_from_borders(labels), wanted)


def test_each_inside_grows_into_the_border_nearest_to_it() -> None:
    labels = np.full((5, 21), 2, np.uint8)
    labels[2, 3:6] = labels[2, 15:18] = 1
    found = instances_from_borders(labels)
    assert (found[:, :10] == 1).all()
    assert (found[:, 11:] == 2).all()


@given(maps)
def test_relabelled_objects_are_the_same_objects(instances) -> None:
    relabelled = relabel(instances)
    numbers = np.unique(instances[instances > 0])
    np.testing.assert_array_equal(np.unique(relabelled[relabelled > 0]), np.arange(1, len(numbers) + 1))
    np.testing.assert_array_equal(np.concatenate([[0], numbers])[relabelled], instances)
    np.testing.assert_array_equal(relabel(relabelled), relabelled)


def test_fragments_go_and_the_rest_stays() -> None:
    instances = np.array([[7, 7, 7, 0, 7], [0, 0, 0, 0, 0], [9, 9, 4, 4, 4]], np.uint16)
    np.testing.assert_array_equal(remove_fragments(instances, 3), [[7, 7, 7, 0, 0], [0, 0, 0, 0, 0], [0, 0, 4, 4, 4]])
    np.testing.assert_array_equal(remove_fragments(instances, 1), instances)
    np.testing.assert_array_equal(split_parts(instances), [[1, 1, 1, 0, 2], [0, 0, 0, 0, 0], [3, 3, 4, 4, 4]])
    np.testing.assert_array_equal(
        connected_components(instances > 0), [[1, 1, 1, 0, 2], [0, 0, 0, 0, 0], [3, 3, 3, 3, 3]]
    )


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["TCGA-50-5931-01Z-00-DX1", "TCGA-E2-A14V-01Z-00-DX1", "TCGA-KB-A93J-01A-01-TS1"])
def test_real_nuclei_come_back_from_border_labels(kumar_folder: Path, name: str) -> None:
    truth = read_instances(kumar_folder / "instances" / f"{name}.png", (1000, 1000))[:500, :500]
    assert aji(truth=truth, predicted=instances_from_borders(border_labels(truth))) > 0.95
    assert aji(truth=truth, predicted=connected_components(truth)) < 0.9


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(MaskError, match=r"0 \(background\), 1 \(inside\) and 2 \(border\), got 3"):
        instances_from_borders(np.array([[3]]))
    with pytest.raises(MaskError, match="at least 1 px, got 0"):
        border_labels(np.array([[1]]), 0)
    for function in (border_labels, relabel, split_parts, connected_components, instances_from_borders):
        with pytest.raises(MaskError, match="whole numbers, got float64"):
            function(np.array([[0.5]]))
