"""Panoptic quality against torchmetrics, which takes longer to import than all tests of maskcond to run."""

import numpy as np
import pytest
import torch

from maskcond import connected_components, pq


@pytest.mark.parametrize("shift", [0, 2, 5])
def test_panoptic_quality_is_that_of_torchmetrics(shift: int) -> None:
    from torchmetrics.functional.detection import panoptic_quality  # takes longer to import than all else here

    generator = np.random.default_rng(5)
    rows, cols = np.indices((160, 200))
    truth = np.zeros((160, 200), np.int32)
    for number in range(1, 61):
        row, col, tall, wide = generator.uniform((0, 0, 6, 6), (160, 200, 14, 14))
        truth[((rows - row) / tall) ** 2 + ((cols - col) / wide) ** 2 < 1] = number
    for predicted in (np.roll(truth, shift, axis=1), np.roll(connected_components(truth), shift, axis=1)):
        maps = [torch.as_tensor(np.stack([m > 0, m], axis=-1)[None].astype(np.int64)) for m in (predicted, truth)]
        wanted = panoptic_quality(*maps, things={1}, stuffs={0}, return_sq_and_rq=True, return_per_class=True)
        found = pq(truth=truth, predicted=predicted)
        # The background, a class of its own there, comes last.
        assert (found.pq, found.sq, found.rq) == pytest.approx(tuple(wanted.reshape(2, 3)[0].tolist()), abs=1e-6)
