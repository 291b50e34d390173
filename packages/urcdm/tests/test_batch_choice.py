"""How a run chooses batch sizes and compilation, with and without a GPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from cdm_core import Cascade, CascadeConfig, SamplingConfig
from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.sampler import take_steps
from urcdm import BatchChoice, PatchTask, RunSettings, StageKey, Urcdm, WorkerSetup, choose_batches
from urcdm.execution import batch_choice, workers

STAGES = [(0, 0), (1, 0), (2, 0)]


@pytest.fixture
def model(make_model: Callable[..., Urcdm]) -> Urcdm:
    """A model of one stage a level; its slide of 64 px has 1, 1, and 5 x 5 patches in its levels."""
    whole = make_model(sampling=SamplingConfig(steps=2, method="dpmpp_2m", lowres_noise=0.1))
    low, _, high = whole.cascades
    alone = CascadeConfig((replace(low.config.stages[0], image_px=16),))
    return Urcdm(whole.config, [Cascade(alone), Cascade(high.config), high])


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """Networks that were asked to be compiled."""
    networks: list[torch.nn.Module] = []
    monkeypatch.setattr(batch_choice, "compile_in_place", networks.append)
    return networks


def pretend_gpu(
    monkeypatch: pytest.MonkeyPatch, seconds: float, compiler: bool = True, around: float = 0.0
) -> list[tuple[Any, ...]]:
    """Makes the model look as if it were on a GPU that takes so long for a step of an image, and a host that takes so
    long around them; tells what it measured."""
    measured: list[tuple[Any, ...]] = []

    def stage_batch(_model: Urcdm, key: StageKey, *, limit: int, size: int | None) -> BatchSize:
        measured.append((key, limit, size))
        return BatchSize(size or limit, seconds, around)

    monkeypatch.setattr(Cascade, "device", torch.device("cuda"))
    monkeypatch.setattr(batch_choice, "stage_batch", stage_batch)
    monkeypatch.setattr("cdm_core.stages.inference.has_compiler", lambda: compiler)
    return measured


def test_on_a_cpu_nothing_is_measured_or_compiled(model: Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_choice, "stage_batch", None)
    settings = RunSettings((256, 256))
    batches = choose_batches(model, settings, batch=None, compiled=None)
    assert batches.size == {(0, 0): 1, (1, 0): 5, (2, 0): 8}
    assert batches.full == {}
    assert choose_batches(model, settings, batch=3, compiled=None).size == {(0, 0): 1, (1, 0): 3, (2, 0): 3}


def test_on_a_gpu_batches_are_measured(model: Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = pretend_gpu(monkeypatch, seconds=0.0)
    settings = RunSettings((64, 64))
    batches = choose_batches(model, settings, batch=None, compiled=None)
    assert measured == [((0, 0), 1, None), ((1, 0), 1, None), ((2, 0), 5, None)]
    assert batches.size == {(0, 0): 1, (1, 0): 1, (2, 0): 5}
    measured.clear()
    choose_batches(model, settings, batch=4, compiled=None)
    assert measured == [((0, 0), 1, 1), ((1, 0), 1, 1), ((2, 0), 5, 4)]


def test_workers_share_what_is_ready_and_the_time(model: Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RunSettings((64, 64))
    assert choose_batches(model, settings, batch=None, compiled=None, workers=2).size[2, 0] == 3  # of 5
    measured = pretend_gpu(monkeypatch, seconds=5.0)
    batches = choose_batches(model, settings, batch=None, compiled=None, workers=2)
    assert measured[-1] == ((2, 0), 3, None)
    assert batches.seconds[2, 0] == 125  # 250 seconds, shared by two
    assert batches.full == {}


def test_joint_sampling_has_all_patches_ready(model: Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RunSettings((64, 64), joint=True)
    assert choose_batches(model, settings, batch=None, compiled=None).size[2, 0] == 5  # on a CPU as in order
    measured = pretend_gpu(monkeypatch, seconds=7.0, around=10**6)
    batches = choose_batches(model, settings, batch=None, compiled=None)
    assert measured[-1] == ((2, 0), 25, None)
    assert batches.seconds[2, 0] == 350  # the host's noise is kept from step to step
    assert (batches.full, batches.loops) == ({(2, 0): 25}, set())


@pytest.mark.parametrize(
    ("seconds", "around", "chosen", "compiler", "networks", "loops"),
    [
        (1.0, 0.0, None, True, [], set()),
        (5.0, 0.0, None, True, [(2, 0)], set()),  # 25 patches of 2 steps take 250 seconds, and 156 if compiled
        (5.0, 8.0, None, True, [], set()),  # but the host takes 200
        (7.0, 0.0, None, True, [], {(2, 0)}),  # 350 seconds, and 219: worth two compilations
        (7.0, 0.0, None, False, [], set()),
        (7.0, 0.0, False, True, [], set()),
        (0.0, 0.0, True, True, [], set(STAGES)),
    ],
)
def test_on_a_gpu_networks_with_minutes_of_work_are_compiled(
    model: Urcdm,
    compiled: list[torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    around: float,
    chosen: bool | None,
    compiler: bool,
    networks: list[StageKey],
    loops: set[StageKey],
) -> None:
    pretend_gpu(monkeypatch, seconds, compiler, around)
    batches = choose_batches(model, RunSettings((64, 64)), batch=None, compiled=chosen)
    batches.compile(model)
    assert compiled == [model.cascades[level].unets[stage] for level, stage in networks]
    assert batches.loops == loops
    assert batches.full == {key: batches.size[key] for key in STAGES if key in networks or key in loops}


@pytest.mark.parametrize("settings", [{"resample": 2}, {"steps": 5}])
def test_loops_are_compiled_if_they_are_short_and_draw_no_noise(
    model: Urcdm, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]
) -> None:
    pretend_gpu(monkeypatch, 0.0)
    batches = choose_batches(model, RunSettings((64, 64), **settings), batch=None, compiled=True)
    assert (list(batches.full), batches.loops) == (STAGES, set())


@pytest.mark.parametrize(("in_threads", "mode"), [(True, "reduce-overhead"), (False, None)])
def test_patches_take_the_compiled_loop(
    model: Urcdm, monkeypatch: pytest.MonkeyPatch, in_threads: bool, mode: str | None
) -> None:
    def take(*given: Any) -> torch.Tensor:
        taken.append(len(given[1]))
        return take_steps(*given)

    modes: list[str | None] = []
    taken: list[int] = []
    monkeypatch.setattr(batch_choice, "graphs_run_in_threads", lambda: in_threads)
    monkeypatch.setattr(batch_choice, "compiled_steps", lambda mode: modes.append(mode) or take)
    batches = BatchChoice(size={(0, 0): 2}, full={(0, 0): 2}, loops={(0, 0)})
    setup = WorkerSetup(lambda: model, lambda: torch.device("cpu"), "fp32")
    with setup.executor(batches) as executor:
        sampled = executor.submit([PatchTask(0, 0, (0, 0), 0)]).result()
    assert (len(sampled), taken, modes) == (1, [2], [mode])


def test_float32_on_a_gpu_is_that_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    monkeypatch.setattr(workers, "set_fp32", kinds.append)

    class Nothing:
        cascades: tuple[Cascade, ...] = ()

        def to(self, _device: torch.device) -> "Nothing":
            return self

    for device in (torch.device("cpu"), torch.device("cuda", 0)):
        WorkerSetup(Nothing, lambda device=device: device, "fp32").model()
    assert kinds == ["ieee"]
