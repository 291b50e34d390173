import numpy as np
import pytest
import torch

from urcdm.execution.fixed_point import ONE, pack, pack_tensor, unpack, unpack_tensor


@pytest.mark.parametrize("on_device", [False, True])
def test_numbers_come_back_to_half_a_step_and_those_out_of_range_as_its_end(on_device: bool) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)
    values[0, 0] = (-9, 8, 100)
    back = unpack_tensor(pack_tensor(torch.from_numpy(values))).numpy() if on_device else unpack(pack(values))
    assert np.abs(back - values.clip(-8, 8 - 1 / ONE)).max() <= 0.5 / ONE
