"""Cascades made ready to sample many images: in the device's precision, compiled where that pays, batches filled up."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

from cdm_core import Cascade, to_uint8
from cdm_core.devices.batch_size import BatchSize
from cdm_core.testing.pretended_cuda import pretended_cuda
from maskcond.enrichment import EnrichmentError, sampling_speed
from maskcond.enrichment.sampling_speed import full_batch, make_ready
from maskcond.enrichment.trained_models import SeededCascade
from maskcond.seeds import image_generator

Make = Callable[..., Cascade]


def test_on_the_cpu_images_stay_as_they_were(tiny_cascade: Make) -> None:
    cascade = tiny_cascade()
    before = to_uint8(cascade.sample([image_generator(seed, 0) for seed in (3, 4)])[-1])
    assert make_ready(cascade, torch.device("cpu"), images=2, batch_size=2) is None
    np.testing.assert_array_equal(SeededCascade(cascade).sample([3, 4]), before)


def test_batches_of_a_compiled_cascade_are_full(tiny_cascade: Make) -> None:
    cascade, sizes = tiny_cascade(), []
    cascade.unets[0].register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    alone = SeededCascade(cascade).sample([3, 4])
    filled = SeededCascade(cascade, full=3).sample([3, 4])
    assert set(sizes) == {2, 3}
    assert len(filled) == 2
    np.testing.assert_allclose(np.int16(filled), np.int16(alone), atol=1)
    assert full_batch([1, 2], None) == full_batch([1, 2], 2) == [1, 2]


def test_on_a_gpu_networks_sample_in_bf16(tiny_cascade: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cascade, chosen = tiny_cascade(cond_images_channels=2), []
    monkeypatch.setattr(sampling_speed, "time_batch", lambda run, size: run(size, 1) or BatchSize(size, 200.0))
    monkeypatch.setattr(sampling_speed, "compile_in_place", chosen.append)
    monkeypatch.setattr("cdm_core.stages.inference.has_compiler", lambda: True)
    with pretended_cuda() as gpu:
        assert make_ready(cascade, torch.device("cuda"), images=1, batch_size=4) == 4
    assert {each.dtype for each in gpu.convolutions} == {torch.bfloat16}
    assert chosen == cascade.unets


@pytest.mark.parametrize(
    ("device", "setting", "compiled"),
    [("cuda", "auto", [1]), ("cuda", True, [0, 1]), ("cuda", False, []), ("cpu", "auto", [])],
)
def test_networks_are_compiled_where_minutes_of_work_are_ahead(
    device: str, setting: sampling_speed.Compile, compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    unets, chosen = [nn.Identity(), nn.Identity()], []
    stages = [SimpleNamespace(sampling=SimpleNamespace(steps=steps)) for steps in (8, 16)]
    cascade: Any = SimpleNamespace(unets=unets, config=SimpleNamespace(stages=stages), to=lambda _: None)
    monkeypatch.setattr(sampling_speed, "best_precision", lambda _: "bf16")
    monkeypatch.setattr(sampling_speed, "compile_in_place", chosen.append)
    monkeypatch.setattr("cdm_core.stages.inference.has_compiler", lambda: True)
    monkeypatch.setattr(sampling_speed, "_measured", lambda *_: BatchSize(4, 1.2))  # 86 seconds, and 173
    full = make_ready(cascade, torch.device(device), images=9, batch_size=4, compiled=setting)
    assert chosen == [unets[number] for number in compiled]
    assert full == (4 if compiled else None)


def test_a_network_that_cannot_be_compiled_is_told_in_one_line() -> None:
    kind = type("Unsupported", (RuntimeError,), {"__module__": "torch._dynamo.exc"})
    cascade = Mock()
    cascade.sample.side_effect = [kind("no nvcc"), RuntimeError("another")]
    model = SeededCascade(cascade)
    with pytest.raises(EnrichmentError, match=r"cannot be compiled here \(no nvcc\); set sampling.compile = false"):
        model.sample([0])
    with pytest.raises(RuntimeError, match="another"):
        model.sample([0])
