import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import cdm_core.training.prepared_examples
from cdm_core import StageConfig, TrainingError
from cdm_core.training.prepared_examples import MOST_WORKERS, PreparedExamples, count_workers, prepared_batches

pytestmark = pytest.mark.once

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(16, 1, 15), (16, 4, 3), (2, 2, 1), (1, 1, 1), (256, 1, MOST_WORKERS)]
)
def test_workers_are_the_cores_that_a_process_of_a_gpu_has(
    runs: Any, monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert count_workers(runs.settings().workers, GPU) == workers
    assert count_workers(runs.settings().workers, CPU) == 0
    assert count_workers(3, GPU) == count_workers(3, CPU) == 3


def test_a_worker_that_dies_is_one_line(upper: StageConfig, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> Iterator[Any]:
        yield {}
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that\nmore")

    monkeypatch.setattr(cdm_core.training.prepared_examples, "DataLoader", killed)
    prepared = PreparedExamples(upper, runs.settings(workers=4), runs.pictures())
    batches = prepared_batches(prepared, [[0], [1]], CPU)
    next(batches)
    with pytest.raises(TrainingError, match=r"^a process that prepares examples died \(.*pid 7.*fewer than 4[^\n]*$"):
        next(batches)
