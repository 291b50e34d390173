"""How a run chooses precision, batch sizes and compilation, with and without a GPU."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openslide
import pytest
import torch

import urcdm
from cdm_core import Cascade
from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.sampler import take_steps
from urcdm_app.errors import UsageError
from urcdm_app.sampling import drawing, speed

RunApp = Callable[..., Any]
STAGES = [(0, 0), (1, 0), (2, 0)]


@pytest.fixture
def loaded(model: Path) -> urcdm.Urcdm:
    """The tiny model; its slide of 64 px has 1, 1, and 5 x 5 patches in its levels."""
    return urcdm.Urcdm.load(model)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """Networks that were asked to be compiled."""
    networks: list[torch.nn.Module] = []
    monkeypatch.setattr(speed, "compile_in_place", networks.append)
    return networks


def pretend_gpu(
    monkeypatch: pytest.MonkeyPatch, seconds: float, compiler: bool = True, around: float = 0.0
) -> list[tuple[Any, ...]]:
    """Makes the model look as if it were on a GPU that takes so long for a step of an image, and a host that takes so
    long around them; tells what it measured."""
    measured: list[tuple[Any, ...]] = []

    def stage_batch(_model: urcdm.Urcdm, key: urcdm.StageKey, *, limit: int, size: int | None) -> BatchSize:
        measured.append((key, limit, size))
        return BatchSize(size or limit, seconds, around)

    monkeypatch.setattr(Cascade, "device", torch.device("cuda"))
    monkeypatch.setattr(urcdm, "stage_batch", stage_batch)
    monkeypatch.setattr("cdm_core.stages.inference.has_compiler", lambda: compiler)
    return measured


def test_on_a_cpu_nothing_is_measured_or_compiled(loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urcdm, "stage_batch", None)
    settings = urcdm.RunSettings((256, 256))
    batches = speed.choose_batches(loaded, settings, batch=None, compiled=None)
    assert batches.size == {(0, 0): 1, (1, 0): 5, (2, 0): 8}
    assert batches.full == {}
    assert speed.choose_batches(loaded, settings, batch=3, compiled=None).size == {(0, 0): 1, (1, 0): 3, (2, 0): 3}


def test_on_a_gpu_batches_are_measured(loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = pretend_gpu(monkeypatch, seconds=0.0)
    settings = urcdm.RunSettings((64, 64))
    batches = speed.choose_batches(loaded, settings, batch=None, compiled=None)
    assert measured == [((0, 0), 1, None), ((1, 0), 1, None), ((2, 0), 5, None)]
    assert batches.size == {(0, 0): 1, (1, 0): 1, (2, 0): 5}
    measured.clear()
    speed.choose_batches(loaded, settings, batch=4, compiled=None)
    assert measured == [((0, 0), 1, 1), ((1, 0), 1, 1), ((2, 0), 5, 4)]


def test_workers_share_what_is_ready_and_the_time(loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = urcdm.RunSettings((64, 64))
    assert speed.choose_batches(loaded, settings, batch=None, compiled=None, workers=2).size[2, 0] == 3  # of 5
    measured = pretend_gpu(monkeypatch, seconds=5.0)
    batches = speed.choose_batches(loaded, settings, batch=None, compiled=None, workers=2)
    assert measured[-1] == ((2, 0), 3, None)
    assert batches.seconds[2, 0] == 125  # 250 seconds, shared by two
    assert batches.full == {}


def test_joint_sampling_has_all_patches_ready(loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = urcdm.RunSettings((64, 64), joint=True)
    assert speed.choose_batches(loaded, settings, batch=None, compiled=None).size[2, 0] == 5  # on a CPU as in order
    measured = pretend_gpu(monkeypatch, seconds=7.0, around=10**6)
    batches = speed.choose_batches(loaded, settings, batch=None, compiled=None)
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
    loaded: urcdm.Urcdm,
    compiled: list[torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    around: float,
    chosen: bool | None,
    compiler: bool,
    networks: list[urcdm.StageKey],
    loops: set[urcdm.StageKey],
) -> None:
    pretend_gpu(monkeypatch, seconds, compiler, around)
    batches = speed.choose_batches(loaded, urcdm.RunSettings((64, 64)), batch=None, compiled=chosen)
    speed.compile_networks(loaded, batches)
    assert compiled == [loaded.cascades[level].unets[stage] for level, stage in networks]
    assert batches.loops == loops
    assert batches.full == {key: batches.size[key] for key in STAGES if key in networks or key in loops}


@pytest.mark.parametrize("settings", [{"resample": 2}, {"steps": 5}])
def test_loops_are_compiled_if_they_are_short_and_draw_no_noise(
    loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]
) -> None:
    pretend_gpu(monkeypatch, 0.0)
    batches = speed.choose_batches(loaded, urcdm.RunSettings((64, 64), **settings), batch=None, compiled=True)
    assert (list(batches.full), batches.loops) == (STAGES, set())


@pytest.mark.parametrize(("in_threads", "mode"), [(True, "reduce-overhead"), (False, None)])
def test_patches_take_the_compiled_loop(
    loaded: urcdm.Urcdm, monkeypatch: pytest.MonkeyPatch, in_threads: bool, mode: str | None
) -> None:
    def take(*given: Any) -> torch.Tensor:
        taken.append(len(given[1]))
        return take_steps(*given)

    modes: list[str | None] = []
    taken: list[int] = []
    monkeypatch.setattr(speed, "graphs_run_in_threads", lambda: in_threads)
    monkeypatch.setattr(speed, "compiled_steps", lambda mode: modes.append(mode) or take)
    batches = speed.Batches(size={(0, 0): 2}, full={(0, 0): 2}, loops={(0, 0)})
    with drawing.Drawer(lambda: loaded, "cpu", "fp32", batches) as drawer:
        drawn = drawer.submit([urcdm.PatchTask(0, 0, (0, 0), 0)]).result()
    assert (len(drawn), taken, modes) == (1, [2], [mode])


def test_precision_is_what_the_device_is_good_at_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert speed.resolve_precision("auto", cpu) == "fp32"
    assert speed.resolve_precision("bf16", cpu) == "bf16"
    with pytest.raises(UsageError, match="auto, fp32 or bf16"):
        speed.resolve_precision("fp8", cpu)


def test_a_slide_can_be_drawn_in_bf16(run_app: RunApp, tmp_path: Path) -> None:
    def pixels(name: str, *options: str) -> np.ndarray:
        out = tmp_path / f"{name}.tiff"
        sampled = run_app("sample", "--out", out, "--size", "64", "--steps", "1", "--device", "cpu", *options)
        assert sampled.code == 0, sampled.err
        return np.asarray(openslide.OpenSlide(out).read_region((0, 0), 0, (64, 64)), int)[..., :3]

    exact, short = pixels("exact"), pixels("short", "--precision", "bf16", "--batch", "3")
    assert 0 < np.abs(exact - short).mean() < 6  # grey levels, after three levels


def test_a_run_does_not_go_on_in_another_precision(
    run_app: RunApp, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("sample", "--model", model, "--out", tmp_path / "s.tiff", "--size", "48", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.write_slide", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_app(*arguments).code == 130
    refused = run_app(*arguments, "--resume", "--precision", "bf16")
    assert (refused.code, "precision = fp32, not bf16" in refused.err) == (1, True)
    assert run_app(*arguments, "--resume").code == 0


def test_a_network_that_cannot_be_compiled_is_told_in_one_line(
    run_app: RunApp, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import Unsupported

    def fails(_network: torch.nn.Module) -> None:
        monkeypatch.setattr(
            "urcdm.execution.tasks.sample_stage", lambda *_, **__: (_ for _ in ()).throw(Unsupported("no gcc\n"))
        )

    monkeypatch.setattr(speed, "compile_in_place", fails)
    arguments = ("sample", "--model", model, "--out", tmp_path / "s.tiff", "--size", "48", "--device", "cpu")
    told = run_app(*arguments, "--compile")
    assert told.code == 1
    assert len(told.err.strip().splitlines()) == 1
    assert "no gcc" in told.err
    assert "--resume --no-compile" in told.err


@pytest.mark.parametrize(
    ("option", "value"), [("--batch", "0"), ("--batch", "many"), ("--batch", "-1"), ("--precision", "fp16")]
)
def test_what_cannot_be_read_is_told(run_app: RunApp, model: Path, tmp_path: Path, option: str, value: str) -> None:
    refused = run_app("sample", "--model", model, "--out", tmp_path / "s.tiff", option, value)
    assert refused.code == 1
    assert f"{option} {value}" in refused.err
    assert not list(tmp_path.iterdir())


def test_float32_on_a_gpu_is_that_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []
    monkeypatch.setattr(speed, "set_fp32", kinds.append)
    nothing: Any = SimpleNamespace(cascades=[], to=lambda device: None)
    speed.make_ready(nothing, torch.device("cpu"), "fp32")
    assert kinds == []
    speed.make_ready(nothing, torch.device("cuda", 0), "fp32")
    assert kinds == ["ieee"]
