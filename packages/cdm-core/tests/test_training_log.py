import importlib.util
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cdm_core.training.monitor
from cdm_core import CheckpointError, ConfigError, SamplingConfig, StageConfig
from cdm_core.diffusion.objective import training_target
from cdm_core.diffusion.schedule import Schedule
from cdm_core.stages.denoiser import Conditions, predict
from cdm_core.stages.lowres import noised_lowres
from cdm_core.training.loop import check_training
from cdm_core.training.prepared_examples import PreparedExamples

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]


def values(lines: list[dict[str, Any]], name: str) -> list[Any]:
    return [line[name] for line in lines]


def test_a_line_holds_means_since_the_line_before(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    events = runs.train(upper, tmp_path / "each", runs.settings(steps=7))
    third = runs.train(upper, tmp_path / "third", runs.settings(steps=7, log_every=3))
    each, lines = runs.log(tmp_path / "each"), runs.log(tmp_path / "third")
    assert values(lines, "step") == [3, 6, 7]
    for name in ("loss", "grad_norm"):
        means = [sum(values(each, name)[a:b]) / (b - a) for a, b in ((0, 3), (3, 6), (6, 7))]
        assert values(lines, name) == pytest.approx(means, rel=1e-5)
    # between lines an event repeats what was known at the last one; before the first, what the first step gave
    first, *means = events[0].loss, *values(lines, "loss")
    known = [first, first, means[0], means[0], means[0], means[1], means[2]]
    assert [event.loss for event in third] == pytest.approx(known, rel=1e-5)


def test_skipped_steps_are_not_in_the_means(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    examples = runs.pictures(broken=range(3, 4))
    runs.train(upper, tmp_path / "each", examples=examples)
    runs.train(upper, tmp_path / "third", runs.settings(log_every=3), examples=examples)
    first, _, third, *_ = values(runs.log(tmp_path / "each"), "loss")
    line, _ = runs.log(tmp_path / "third")
    assert (line["loss"], line["skipped"]) == (pytest.approx((first + third) / 2, rel=1e-5), 1)


def test_a_mean_goes_on_over_an_interruption(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(log_every=3)
    runs.train(upper, tmp_path / "straight", training)
    runs.train(upper, tmp_path / "resumed", training, stop=5)
    runs.train(upper, tmp_path / "resumed", training, resume=True)
    assert runs.log(tmp_path / "straight") == runs.log(tmp_path / "resumed")


def test_a_line_tells_time_and_speed(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = itertools.count(0.0, 0.01)  # each look at the clock is a hundredth of a second
    jumps: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: next(now_s) + sum(jumps))
    monkeypatch.setattr(cdm_core.training.log, "time", clock)
    monkeypatch.setattr(cdm_core.training.monitor, "save_sample_sheet", lambda *_, **__: jumps.append(100.0))
    runs.train(upper, tmp_path, runs.settings(steps=4, log_every=2, sample_every=2))
    first, second = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert second["seconds"] - first["seconds"] > 100
    assert second["images_per_second"] > 2 * 2 / 1  # the time that samples take is not the steps'
    assert first["aside_share"] == 0
    assert second["aside_share"] == pytest.approx(100 / second["seconds"], abs=0.01)


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_what_the_log_holds(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    pytest.importorskip("tensorboard")
    training = runs.settings(trackers=("tensorboard",), validate_every=3, validation_images=2)
    examples = runs.pictures(broken=range(3, 4))
    options = {"examples": examples, "validation": runs.pictures()}
    runs.train(upper, tmp_path, training, stop=4, **options)
    runs.train(upper, tmp_path, training, resume=True, **options)
    found, lines = scalars(tmp_path), runs.log(tmp_path)
    losses = {line["step"]: line["loss"] for line in lines if line["loss"] is not None}
    assert sorted(losses) == [1, 3, 4, 5, 6]
    assert found["loss"] == pytest.approx(losses, rel=1e-6)
    assert found["validation_loss"].keys() == {3, 6}
    assert found.keys() >= {"grad_norm", "learning_rate", "skipped", "images_per_second"}


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_written(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else find(name, *a))
    line = r"^trackers: wandb is not installed; run: pip install \'cdm-core\[wandb\]\'$"
    with pytest.raises(ConfigError, match=line):
        runs.train(upper, tmp_path / "run", runs.settings(trackers=("wandb",)))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_a_tracker_is_not_its_package(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if getattr(importlib.util.find_spec("wandb"), "origin", None):
        pytest.skip("wandb is installed")
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="wandb is not installed"):
        check_training(upper, runs.settings(trackers=("wandb",)))


def test_validation_measures_the_running_mean_on_held_out_examples(
    upper: StageConfig, tmp_path: Path, runs: Any, random_unet: Callable[..., nn.Module]
) -> None:
    training = runs.settings(learning_rate=0.0, loss_weight="p2", validate_every=2, validation_images=5)
    unet, held_out = random_unet(upper), runs.pictures()
    events = runs.train(upper, tmp_path, training, initial=unet, validation=held_out)
    found = [event.validation_loss for event in events]
    assert [loss is None for loss in found] == [True, False] * 3
    assert found[1] == found[3] == found[5]  # nothing was learnt, and what is random stays the same
    lines = runs.log(tmp_path)
    assert [line.get("validation_loss") for line in lines] == found

    prepared = [PreparedExamples(upper, training, held_out, held_out=5)[i] for i in range(5)]
    errors = []
    for i, example in enumerate(prepared):
        assert i / 5 <= float(example["t"]) < (i + 1) / 5
        generator = torch.Generator().manual_seed(int(example["noise_seed"]))
        noise, lowres_noise = (torch.randn(1, 3, 16, 16, generator=generator) for _ in range(2))
        x0, t, schedule = example["x0"][None], example["t"][None], Schedule(upper.schedule)
        lowres, log_snr = noised_lowres(upper, example["lowres"][None], example["lowres_t"][None], lowres_noise)
        conditions = Conditions(example["cond_images"][None], lowres, log_snr)
        prediction = predict(unet, schedule.add_noise(x0, t, noise), schedule.log_snr(t), conditions)
        errors.append(float((prediction - training_target(upper.objective, schedule, x0, noise, t)).square().mean()))
    assert found[1] == pytest.approx(sum(errors) / 5, rel=1e-4)  # unweighted


def test_validation_changes_nothing_in_training(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path / "without", runs.settings(steps=4, batch_size=3))
    training = runs.settings(steps=4, batch_size=3, chunk_size=2, validate_every=2, validation_images=3)
    runs.train(upper, tmp_path / "chunks", training)
    measured = runs.train(upper, tmp_path / "with", replace(training, chunk_size=None), validation=runs.pictures())
    again = runs.train(upper, tmp_path / "both", training, validation=runs.pictures())
    states = {name: runs.state(tmp_path / name) for name in ("without", "with", "chunks", "both")}
    for part in ("unet", "ema", "optimiser"):
        runs.assert_same(dict(states["without"][part]), dict(states["with"][part]))
        runs.assert_same(dict(states["chunks"][part]), dict(states["both"][part]))
    assert again[1].validation_loss == pytest.approx(measured[1].validation_loss, rel=1e-4)


def test_validation_without_an_end_of_its_own_comes_at_the_end(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(validate_every=100, validation_images=1, log_every=4)
    events = runs.train(upper, tmp_path, training, validation=runs.pictures())
    assert [event.step for event in events if event.validation_loss is not None] == [6]
    assert [line["step"] for line in runs.log(tmp_path)] == [4, 6]


def test_validation_drops_no_embedding(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    class Embedded(runs.pictures):
        def __getitem__(self, draw: int) -> dict[str, Tensor]:
            given = torch.tensor(draw % 2 == 0)
            return {**super().__getitem__(draw), "embedding": torch.ones(4), "embedding_given": given}

    config = tiny_stage({"text_embed_dim": 4}, sampling=SamplingConfig(1, "ddim"))
    prepared = PreparedExamples(config, runs.settings(drop_embedding=1.0), Embedded(), held_out=4)
    assert [bool(prepared[i]["embedding_given"]) for i in range(4)] == [True, False, True, False]
    runs.train(config, tmp_path, runs.settings(steps=1), examples=Embedded())  # and a sheet of both kinds
    assert (tmp_path / "samples" / "0000001.png").exists()


@pytest.mark.parametrize(
    ("tail", "damaged"),
    [
        (b"\n", 0),
        (b"\n  \n\n", 0),
        (b"\0" * 8 + b"\n", 1),
        (b'{"step": 2, "lo', 0),
        (b'{"st\n[]\n{"loss": 1}\n{"step": "two"}\n\xff\xfe\n', 5),
    ],
)
def test_a_damaged_log_does_not_stop_a_run(
    upper: StageConfig, tmp_path: Path, runs: Any, tail: bytes, damaged: int
) -> None:
    runs.train(upper, tmp_path, stop=2)
    before = runs.log(tmp_path)
    with (tmp_path / "log.jsonl").open("ab") as log:
        log.write(tail)
    runs.train(upper, tmp_path, stop=1, resume=True)
    told = [{"event": "damaged_lines", "step": 2, "lines": damaged}] if damaged else []
    assert runs.log(tmp_path)[:-1] == before + told
    assert runs.log(tmp_path)[-1]["step"] == 3


def test_a_file_that_is_no_log_is_kept(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    for name, words in (("log.jsonl", "not the log of a training; move it away"), ("state.pt", "it holds no tensors")):
        (tmp_path / name).write_text("notes of mine")
        with pytest.raises(CheckpointError, match=words):
            runs.train(upper, tmp_path, resume=True)
        assert (tmp_path / name).read_text() == "notes of mine"
        (tmp_path / name).unlink()


def test_a_last_line_without_its_end_is_kept(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=2)
    log = tmp_path / "log.jsonl"
    log.write_bytes(log.read_bytes().rstrip(b"\n"))
    runs.train(upper, tmp_path, stop=1, resume=True)
    assert values(runs.log(tmp_path), "step") == [1, 2, 3]


def test_a_log_that_cannot_be_written_is_told_in_one_line(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=2)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(CheckpointError, match=r"log\.jsonl: cannot be written \(.*\); use another folder$"):
        runs.train(upper, tmp_path, resume=True)
