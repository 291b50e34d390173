"""Noise and pictures on their way from the host to a device that is not waited for."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from cdm_core import draw_noise
from cdm_core.devices.host_batch import empty_host_batch, stacked_on
from cdm_core.diffusion import sampler
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda

Generators = Callable[..., list[torch.Generator]]
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu() -> Iterator[GpuRecord]:
    with pretended_cuda() as record:
        yield record


def drawn_one_by_one(shape: tuple[int, ...], generators: list[torch.Generator]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


@pytest.mark.parametrize("shape", [(1,), (3, 5, 5), (3, 16, 16)])
def test_noise_on_the_cpu_is_that_of_each_generator(generators: Generators, shape: tuple[int, ...]) -> None:
    assert torch.equal(draw_noise(shape, generators(1, 2, 3), CPU), drawn_one_by_one(shape, generators(1, 2, 3)))


@pytest.mark.parametrize("threads", [1, 4])
def test_noise_for_a_gpu_is_the_same_and_comes_from_one_pinned_batch(
    generators: Generators, gpu: GpuRecord, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def remember(*given: object) -> Tensor:
        batches.append(empty_host_batch(*given))
        return batches[-1]

    batches: list[Tensor] = []
    monkeypatch.setattr(sampler, "empty_host_batch", remember)
    monkeypatch.setattr(sampler, "THREADED_VALUES", 1 if threads > 1 else 10**9)
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    with torch.inference_mode(threads > 1):  # which threads do not inherit
        noise = draw_noise((3, 16, 16), generators(1, 2, 3), CUDA)
    assert noise.is_cuda
    assert noise.shape == (3, 3, 16, 16)
    [batch] = batches
    assert torch.equal(batch, drawn_one_by_one((3, 16, 16), generators(1, 2, 3)))
    assert not gpu.waits
    assert not gpu.races
    assert [(copy.size, copy.pinned) for copy in gpu.copies] == [(3 * 3 * 16 * 16, True)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_pictures_are_stacked_on_the_device(gpu: GpuRecord, dtype: type) -> None:
    pictures = [np.full((4, 4, 3), number, dtype) for number in range(2)]
    assert torch.equal(stacked_on(CPU, pictures), torch.from_numpy(np.stack(pictures)))
    there = stacked_on(CUDA, pictures)
    assert there.is_cuda
    assert there.dtype == torch.from_numpy(pictures[0]).dtype
    assert not gpu.waits
