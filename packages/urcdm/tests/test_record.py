"""The record of a run: times over all sittings, and the files that it writes."""

import time
from pathlib import Path

import pytest

from urcdm import CanvasError, RunRecord, SampleEvent


def test_time_goes_to_the_stage_that_took_it_over_all_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def event(level: str, done: int, total: int) -> SampleEvent:
        return SampleEvent(level, 16, done, total, 3)

    first = RunRecord()
    for level, done, total, at in (("low", 0, 1, 100), ("low", 1, 1, 102), ("high", 0, 9, 103), ("high", 4, 9, 111)):
        now = at
        first.note(event(level, done, total), tmp_path)
    now = 500.0  # killed, a batch lost
    second = RunRecord.load(tmp_path).continued()
    for level, done, total, at in (("low", 1, 1, 600), ("high", 6, 9, 601), ("high", 9, 9, 607)):
        now = at
        second.note(event(level, done, total), tmp_path)
    low, high = second.stages
    assert (low.seconds, low.timed, low.patches, low.skipped) == (2, 1, 1, 3)
    assert (high.seconds, high.timed, high.patches) == (
        1 + 8 + 1 + 6,
        7,
        9,
    )  # two patches before the kill were not reported
    assert high.seconds_per_patch == pytest.approx(16 / 7)
    assert second.sittings == 2


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    assert RunRecord.load(tmp_path).stages == []
    (tmp_path / "record.json").write_text('{"stages": [{}]}')
    with pytest.raises(CanvasError, match=r"record\.json is damaged"):
        RunRecord.load(tmp_path)
