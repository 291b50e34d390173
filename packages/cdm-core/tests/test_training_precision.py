from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cdm_core.training.loop
import cdm_core.training.setup
from cdm_core import CheckpointError, StageConfig
from cdm_core.training.loop import even_chunk
from cdm_core.training.setup import COMPILING_PAYS_STEPS
from cdm_core.training.state import saved_precision

pytestmark = pytest.mark.once


def test_auto_is_float32_on_a_cpu_and_written_down(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    assert runs.settings().precision == "auto"
    runs.train(upper, tmp_path, stop=1)
    assert runs.state(tmp_path)["training"]["precision"] == "fp32"
    assert saved_precision(tmp_path / "state.pt") == "fp32"


def test_a_run_that_goes_on_keeps_its_precision(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdm_core.training.setup, "best_precision", lambda _: "bf16")
    runs.train(upper, tmp_path, stop=1)  # as on a GPU
    monkeypatch.undo()
    runs.train(upper, tmp_path, stop=1, resume=True)
    assert runs.state(tmp_path)["training"]["precision"] == "bf16"
    with pytest.raises(CheckpointError, match=r"training\.precision = bf16, not fp32"):
        runs.train(upper, tmp_path, runs.settings(precision="fp32"), resume=True)


@pytest.mark.parametrize(
    ("device", "steps", "compiler", "compiles"),
    [
        ("cuda", COMPILING_PAYS_STEPS, True, True),
        ("cuda", COMPILING_PAYS_STEPS - 1, True, False),
        ("cuda", COMPILING_PAYS_STEPS, False, False),
        ("cpu", COMPILING_PAYS_STEPS, True, False),
    ],
)
def test_auto_compiles_for_long_runs_on_a_gpu(
    runs: Any, monkeypatch: pytest.MonkeyPatch, device: str, steps: int, compiler: bool, compiles: bool
) -> None:
    monkeypatch.setattr(cdm_core.training.setup, "best_precision", lambda _: "bf16")
    monkeypatch.setattr(cdm_core.training.setup, "has_compiler", lambda: compiler)
    resolved = cdm_core.training.setup.resolved(runs.settings(steps=steps), torch.device(device), None)
    assert resolved.compile is compiles


def test_what_cannot_be_compiled_is_one_line(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})

    def fails(*_: Any, **__: Any) -> None:
        raise fault("no compiler\nat all")

    monkeypatch.setattr(cdm_core.training.loop, "chunk_loss", fails)
    line = r"^a network cannot be compiled here \(no compiler\); set compile = false and go on with resume$"
    with pytest.raises(cdm_core.TrainingError, match=line):
        runs.train(upper, tmp_path)


def test_training_is_compiled_as_sampling_is(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(cdm_core.training.setup, "compile_in_place", compiled.append)
    runs.train(upper, tmp_path, runs.settings(compile=True), stop=1)
    assert len(compiled) == 1


@pytest.mark.parametrize(("compile_it", "chunk"), [(True, 3), (False, 4)])
def test_compiled_chunks_are_of_one_size(runs: Any, compile_it: bool, chunk: int) -> None:
    training = runs.settings(batch_size=6, chunk_size=4, compile=compile_it)
    assert even_chunk(training, 6, training.chunk_size) == chunk


def test_memory_of_a_network_trained_before_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("gc.collect", lambda: calls.append("collect"))
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: calls.append("empty"))
    cdm_core.training.setup.release_memory(torch.device("cpu"))
    assert not calls
    cdm_core.training.setup.release_memory(torch.device("cuda"))
    assert calls == ["collect", "empty"]
