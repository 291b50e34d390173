"""Patches drawn on a GPU that is not there: nothing waits for it but the finished patches."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cdm_core import SamplingConfig
from cdm_core.stages.inference import prepare_for_sampling
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda
from urcdm import DenoiseTask, LocalPatchExecutor, PatchTask, PreparedBatch, Urcdm
from urcdm.execution.conditions import KeptConditions

pytestmark = pytest.mark.once

MakeModel = Callable[..., Urcdm]


@pytest.fixture
def gpu() -> Iterator[GpuRecord]:
    with pretended_cuda() as record:
        yield record


class Scales(torch.nn.Module):
    """A network that takes no time: what the others do on a device is tested where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor, _log_snr: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        assert all(given.is_cuda for given in conditions.values())
        return self.conv(x)


def on_gpu(model: Urcdm) -> Urcdm:
    for cascade in model.cascades:
        for number in range(len(cascade.unets)):
            cascade.unets[number] = prepare_for_sampling(Scales(), precision="bf16")
    return model.to("cuda")


class Counts(LocalPatchExecutor):
    """Notes after each batch how often the device has been waited for, and when batches were prepared."""

    def __init__(self, model: Urcdm, gpu: GpuRecord) -> None:
        super().__init__(model)
        self.gpu, self.batches, self.waits_of_preparing = gpu, 0, 0

    def prepare(self, tasks: Any) -> PreparedBatch:
        before = len(self.gpu.blocking("cuda"))
        prepared = super().prepare(tasks)
        self.waits_of_preparing += len(self.gpu.blocking("cuda")) - before
        return prepared

    def finish(self, batch: PreparedBatch) -> list[Any]:
        self.batches += 1
        return super().finish(batch)


def test_patches_and_joint_steps_wait_for_the_device_once_a_batch(make_model: MakeModel, gpu: GpuRecord) -> None:
    model = on_gpu(make_model(sampling=SamplingConfig(steps=1, method="ddpm", lowres_noise=0.1)))
    grey = {side: np.full((side, side, 3), 128, np.uint8) for side in (4, 16)}
    context, mask = np.concatenate([grey[16], grey[16]], axis=2), np.ones((16, 16), np.float32)
    patches = [PatchTask(2, 0, (0, i), i, context, grey[4], grey[16], mask) for i in range(2)]
    noisy = [DenoiseTask(replace(patch, known=None), np.zeros((16, 16, 3), np.int16), 0.5) for patch in patches]
    gpu.clear()
    with Counts(model, gpu) as executor:
        drawn, *predicted = [executor.submit(tasks) for tasks in (patches, noisy, noisy)]
        assert [(each.shape, each.dtype) for each in drawn.result()] == [((16, 16, 3), np.uint8)] * 2
        for each in predicted:
            assert [(x0.shape, x0.dtype) for x0 in each.result()] == [((16, 16, 3), np.int16)] * 2
    assert len(gpu.blocking("cpu")) == executor.batches == gpu.waits.total() == 3
    assert executor.waits_of_preparing == 0
    assert not gpu.races
    assert not gpu.channels_first


def test_conditions_take_half_of_the_memory_that_a_batch_leaves(
    make_model: MakeModel, gpu: GpuRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, device = on_gpu(make_model()), torch.device("cuda", 0)
    kept = KeptConditions()
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (1000, 8000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 5000)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda _: 4000)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda _: None)
    kept.measure(device)
    assert kept.room is None  # no stage has begun
    kept.of(model, [PatchTask(0, 0, (0, 0), 0)])
    assert kept.room is None
    kept.measure(device)
    assert kept.room == 1000
