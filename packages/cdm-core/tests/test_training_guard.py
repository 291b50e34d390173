import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import cdm_core.training.guard
import cdm_core.training.state
from cdm_core import CheckpointError, StageConfig, TrainingError
from cdm_core.training.loop import TrainingLoop, train_stage
from cdm_core.training.state import load_trained

pytestmark = pytest.mark.once


def events_of(log: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in log if line.get("event") == name]


def weights_are_finite(path: Path, config: StageConfig) -> bool:
    return all(value.isfinite().all() for value in load_trained(path, config)[0].state_dict().values())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a run go back after five steps that are not finite, and not after twenty."""
    monkeypatch.setattr(cdm_core.training.guard, "MAX_SKIPPED_IN_A_ROW", 5)


@pytest.fixture(scope="module")
def straight(upper: StageConfig, runs: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The states of undisturbed runs that were closed after so many steps."""
    folder = tmp_path_factory.mktemp("straight")
    for stop in (3, 4, 6):
        runs.train(upper, folder / str(stop), stop=stop)
    return {stop: runs.state(folder / str(stop)) for stop in (3, 4, 6)}


def test_a_step_that_is_not_finite_is_skipped_and_counted(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    examples = runs.pictures(broken=range(3, 4))
    events = runs.train(upper, tmp_path, examples=examples)
    assert [event.skipped for event in events] == [0, 1, 1, 1, 1, 1]
    lines = runs.log(tmp_path)
    assert [line["skipped"] for line in lines] == [0, 1, 1, 1, 1, 1]
    assert [event.loss == event.loss for event in events] == [True, False, True, True, True, True]
    assert [line["step"] for line in lines if line["loss"] is None or line["grad_norm"] is None] == [2]
    assert all(torch.isfinite(value).all() for value in runs.state(tmp_path)["unet"].values())


def test_skipped_steps_are_still_counted_after_resuming(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    examples = runs.pictures(broken=range(3, 4))
    runs.train(upper, tmp_path, examples=examples, stop=3)
    assert [event.skipped for event in runs.train(upper, tmp_path, examples=examples, resume=True)] == [1, 1, 1]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("first", [0, 2])
def test_a_skipped_step_changes_nothing_to_the_bit(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    seen: list[Any] = []

    def copied(run: TrainingLoop) -> None:
        state = run.state
        parts = (state.unet.state_dict(), state.ema.state_dict(), state.optimiser.state_dict()["state"])
        seen.append([{name: _cloned(value) for name, value in part.items()} for part in parts])

    def _cloned(value: Any) -> Any:
        return {k: v.clone() for k, v in value.items()} if isinstance(value, dict) else value.clone()

    step = TrainingLoop.iterate

    def watched(self: TrainingLoop, batch: Any) -> None:
        copied(self)
        step(self, batch)
        copied(self)

    monkeypatch.setattr(TrainingLoop, "iterate", watched)
    runs.train(upper, tmp_path, examples=runs.pictures(broken=range(first * 2, first * 2 + 3)), stop=5)
    for number in range(5):
        before, after = seen[2 * number : 2 * number + 2]
        if number in (first, first + 1):
            if before[2]:  # the optimiser makes its moments in the first step
                runs.assert_same(before, after)
            else:
                runs.assert_same(before[:2], after[:2])
                moments = [value for values in after[2].values() for value in values.values()]
                assert moments
                assert not any(value.any() for value in moments)
        else:
            with pytest.raises(AssertionError):
                runs.assert_same(before[:2], after[:2])


@pytest.mark.usefixtures("impatient")
def test_a_stretch_of_poison_is_survived_from_the_state_on_disk(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(steps=20, batch_size=1, checkpoint_every=3, learning_rate_decay="none")
    events = runs.train(upper, tmp_path, training, examples=runs.pictures(broken=range(8, 15)))
    assert [event.step for event in events] == list(range(1, 21))
    assert [events[-1].skipped, events[-1].restored, events[12].restored, events[11].restored] == [7, 1, 1, 0]
    log = runs.log(tmp_path)
    assert events_of(log, "restored") == [{"event": "restored", "step": 13, "from_step": 6}]
    state = runs.state(tmp_path)
    assert (state["step"], state["restored"]) == (20, 1)
    assert weights_are_finite(tmp_path / "state.pt", upper)
    # the optimiser went back too: 6 steps, then those after the poison
    assert {int(moments["step"]) for moments in state["optimiser"]["state"].values()} == {6 + 5}


def overwrite(monkeypatch: pytest.MonkeyPatch, *, step: int, name: str = "init_conv.weight") -> None:
    """Puts nan into the weights before a step, as a fault of the hardware would."""
    plain = TrainingLoop.iterate

    def poisoned(self: TrainingLoop, batch: Any) -> None:
        if self.state.step == step - 1:
            with torch.no_grad():
                self.state.unet.get_parameter(name)[0] = float("nan")
        plain(self, batch)

    monkeypatch.setattr(TrainingLoop, "iterate", poisoned)


@pytest.mark.parametrize(("name", "skipped"), [("init_conv.weight", 3), ("null_text_embed", 0)])
def test_weights_that_are_overwritten_are_restored(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, name: str, skipped: int
) -> None:
    overwrite(monkeypatch, step=8, name=name)  # the second one's loss stays finite
    training = runs.settings(steps=15, batch_size=1, checkpoint_every=5, sample_every=99)
    events = runs.train(upper, tmp_path, training)
    assert events_of(runs.log(tmp_path), "restored") == [{"event": "restored", "step": 10, "from_step": 5}]
    assert (events[-1].step, events[-1].skipped, events[-1].restored) == (15, skipped, 1)
    assert weights_are_finite(tmp_path / "state.pt", upper)


def test_weights_lost_in_the_last_steps_are_restored_before_they_are_saved(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(monkeypatch, step=6)
    runs.train(upper, tmp_path, runs.settings(checkpoint_every=4))
    assert events_of(runs.log(tmp_path), "restored") == [{"event": "restored", "step": 6, "from_step": 4}]
    assert load_trained(tmp_path / "state.pt", upper)[1] == 6
    assert weights_are_finite(tmp_path / "state.pt", upper)


@pytest.mark.usefixtures("impatient")
def test_poison_without_an_end_stops_the_training(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(steps=99, batch_size=1, checkpoint_every=2, sample_every=99)
    events = train_stage(upper, training, runs.pictures(broken=range(4, 99)), tmp_path, device="cpu")
    seen: list[Any] = []
    with pytest.raises(TrainingError, match=r"went back 2 times, and 5 steps in a row without a finite loss") as caught:
        seen.extend(events)
    assert "\n" not in str(caught.value)
    assert "lower learning_rate" in str(caught.value)
    assert [event.step for event in seen] == list(range(1, 19))
    assert [line["step"] for line in events_of(runs.log(tmp_path), "restored")] == [9, 14]
    assert load_trained(tmp_path / "state.pt", upper)[1] == 14  # restored, and saved at once
    assert weights_are_finite(tmp_path / "state.pt", upper)


@pytest.mark.usefixtures("impatient")
def test_going_back_counts_anew_after_a_finite_step(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    class Often(runs.pictures):
        def __getitem__(self, draw: int) -> dict[str, torch.Tensor]:
            self.broken = range(draw, draw + 1) if draw % 6 else range(0)
            return super().__getitem__(draw)

    training = runs.settings(steps=18, batch_size=1, checkpoint_every=1, sample_every=99)
    assert runs.train(upper, tmp_path, training, examples=Often())[-1].restored == 3


@pytest.mark.usefixtures("unchecked")
def test_without_a_state_to_go_back_to_the_training_stops(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(steps=40, batch_size=1)
    with pytest.raises(TrainingError, match=r"20 steps in a row without a finite loss, and no state to go back to"):
        runs.train(upper, tmp_path, training, examples=runs.pictures(broken=range(0, 99)))
    assert not (tmp_path / "state.pt").exists()


def test_a_state_is_not_saved_while_steps_are_skipped(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(steps=13, batch_size=1, checkpoint_every=4)
    events = train_stage(upper, training, runs.pictures(broken=range(6, 10)), tmp_path, device="cpu")
    saved = [runs.state(tmp_path)["step"] for event in events if event.step >= 4]
    # that of step 8 is made up for after step 11, the first that was not skipped
    assert saved == [4, 4, 4, 4, 4, 4, 4, 11, 12, 13]


def test_a_run_that_is_closed_while_steps_are_skipped_keeps_the_last_good_state(
    upper: StageConfig, tmp_path: Path, runs: Any
) -> None:
    training, examples = runs.settings(batch_size=1, checkpoint_every=2), runs.pictures(broken=range(4, 5))
    straight, closed = tmp_path / "straight", tmp_path / "closed"
    runs.train(upper, straight, training, examples=examples)
    runs.train(upper, closed, training, examples=examples, stop=5)
    assert runs.state(closed)["step"] == 4
    runs.train(upper, closed, training, examples=examples, resume=True)
    runs.assert_same(runs.state(straight), runs.state(closed))


def test_a_run_whose_last_step_is_skipped_still_ends(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, examples=runs.pictures(broken=range(11, 12)))
    assert load_trained(tmp_path / "state.pt", upper)[1] == 6
    assert weights_are_finite(tmp_path / "state.pt", upper)


def test_a_state_that_cannot_be_written_is_told(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot be written .*is the disk full\?"):
        runs.train(upper, tmp_path, runs.settings(steps=1))
    assert not (tmp_path / "state.pt").exists()


def in_the_running_mean(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]) -> None:
    plain = cdm_core.training.loop.update_ema

    def update(*arguments: Any) -> None:
        interrupt()
        plain(*arguments)

    monkeypatch.setattr(cdm_core.training.loop, "update_ema", update)


def in_the_optimiser(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]) -> None:
    plain = torch.optim.AdamW.step

    def step(self: Any) -> None:
        plain(self)
        interrupt()

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


def in_the_gradients(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]) -> None:
    plain = torch.Tensor.backward

    def backward(self: torch.Tensor, **options: Any) -> None:
        plain(self, **options)
        interrupt()

    monkeypatch.setattr(torch.Tensor, "backward", backward)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Has Ctrl-C raise KeyboardInterrupt, also in a process of pytest-xdist, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("place", "done"), [(in_the_running_mean, 4), (in_the_optimiser, 4), (in_the_gradients, 3)])
def test_ctrl_c_never_leaves_half_a_step(
    upper: StageConfig,
    tmp_path: Path,
    runs: Any,
    straight: dict[int, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[..., None],
    done: int,
) -> None:
    calls: list[None] = []

    def interrupt() -> None:
        calls.append(None)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        place(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            runs.train(upper, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stopped = runs.state(tmp_path)
    assert stopped["step"] == done
    # not the counts: the log's line of the step is not written yet
    for part in ("unet", "ema", "optimiser"):
        runs.assert_same(dict(straight[done][part]), dict(stopped[part]))
    runs.train(upper, tmp_path, resume=True)
    resumed = runs.state(tmp_path)
    for part in ("unet", "ema", "optimiser"):
        runs.assert_same(dict(straight[6][part]), dict(resumed[part]))
