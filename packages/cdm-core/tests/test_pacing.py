from pathlib import Path
from typing import Any

import pytest

import cdm_core.devices.pacing
from cdm_core import StageConfig
from cdm_core.devices.pacing import LEAST_S, SHARE, Pace


class Clock:
    """A clock that is set by hand, in seconds."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_by_count_it_is_due_after_every_so_many_steps() -> None:
    pace = Pace(3)
    assert not pace.by_time
    assert [step for step in range(1, 10) if pace.is_due(step)] == [3, 6, 9]


@pytest.mark.parametrize(("took_s", "waits_s"), [(1.0, LEAST_S), (30.0, 30 / SHARE)])
def test_by_time_it_takes_a_small_share_of_the_run(took_s: float, waits_s: float) -> None:
    clock = Clock()
    pace = Pace("auto", clock=clock)
    clock.now_s += LEAST_S - 1
    assert not pace.is_due(1)
    clock.now_s += 1
    assert pace.is_due(1)
    with pace.taken():
        clock.now_s += took_s
    clock.now_s += waits_s - 1
    assert not pace.is_due(1)
    clock.now_s += 1
    assert pace.is_due(1)
    assert took_s / (waits_s + took_s) < SHARE


def test_a_run_turns_aside_by_time_where_the_log_has_a_line(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = runs.settings(log_every=2)
    assert (training.checkpoint_every, training.sample_every) == ("auto", "auto")
    runs.train(upper, tmp_path / "short", training)
    assert [path.stem for path in (tmp_path / "short" / "samples").iterdir()] == ["0000006"]
    monkeypatch.setattr(cdm_core.devices.pacing, "LEAST_S", 0.0)
    monkeypatch.setattr(cdm_core.devices.pacing, "SHARE", 1e9)
    runs.train(upper, tmp_path / "often", training)
    sheets = sorted(path.stem for path in (tmp_path / "often" / "samples").iterdir())
    assert sheets == ["0000002", "0000004", "0000006"]
    runs.assert_same(runs.state(tmp_path / "short")["unet"], runs.state(tmp_path / "often")["unet"])
