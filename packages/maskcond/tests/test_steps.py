"""Steps are done once, again only where something differs, and go on after a kill."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maskcond.enrichment import EnrichmentError, Progress, State, Step, StepRun, estimate
from maskcond.enrichment.steps.record import StepRecord
from run_folder import LockedError, RunFolderError


class Kitchen:
    """Steps a -> b -> d and a -> c -> d that write words, and tell which of them worked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.worked, self.words = folder, list[str](), {"a": "one", "b": "two", "c": "three", "d": "four"}
        self.fails_in: str | None = None

    def run(self) -> StepRun:
        reads = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
        return StepRun(self.folder, [self.step(name, reads[name]) for name in reads])

    def step(self, name: str, reads: tuple[str, ...]) -> Step:
        def work(folder: Path) -> Iterator[Progress]:
            self.worked.append(name)
            for part in range(3):
                if not (folder / f"{part}.txt").exists():
                    (folder / f"{part}.txt").write_text(self.made(name))
                    self.worked.append(f"{name}{part}")
                yield Progress(part + 1, 3)
                if name == self.fails_in and part == 1:
                    raise KeyboardInterrupt

        outputs = ("0.txt", "1.txt", "2.txt")
        return Step(name, f"do {name}", work, outputs, {"word": self.words[name]}, reads, units=3, kind="any")

    def made(self, name: str) -> str:
        # of b only the first letter plays a part
        return self.words[name][0] if name == "b" else self.words[name]

    def do(self, **how: Any) -> list[str]:
        self.worked.clear()
        for _ in self.run().carry_out(**how):
            pass
        return [name for name in self.worked if len(name) == 1]

    def states(self) -> str:
        return " ".join(f"{status.step.name}:{status.state}" for status in self.run().status())


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path / "run")


def test_what_is_done_is_not_done_again(kitchen: Kitchen) -> None:
    assert kitchen.states() == "a:to do b:to do c:to do d:to do"
    assert not kitchen.folder.exists()  # looking leaves nothing
    assert kitchen.do() == ["a", "b", "c", "d"]
    assert kitchen.states() == "a:done b:done c:done d:done"
    assert kitchen.do() == []


def test_only_what_depends_on_a_change_is_done_again(kitchen: Kitchen) -> None:
    kitchen.do()
    kitchen.words["c"] = "other"
    assert kitchen.states() == "a:done b:done c:changed d:waiting"
    with pytest.raises(EnrichmentError, match="word has changed") as refused:
        kitchen.do()
    assert "overwrite" in str(refused.value)
    assert (kitchen.folder / "c" / "0.txt").read_text() == "three"  # nothing is lost unasked
    assert kitchen.do(overwrite=True) == ["c", "d"]
    assert (kitchen.folder / "c" / "0.txt").read_text() == "other"
    assert kitchen.do() == []


def test_settings_that_earlier_versions_lacked_are_no_change_unless_they_are_used(tmp_path: Path) -> None:
    def do(**settings: Any) -> bool:
        def work(folder: Path) -> Iterator[Progress]:
            (folder / "out.txt").write_text("done")
            yield Progress(1, 1)

        step = Step("train", "train", work, ("out.txt",), {"network": {"features": 8, **settings}})
        return [event.kept for event in StepRun(tmp_path, [step]).carry_out()] == [True]

    assert not do()
    assert do(block_px=1, distances=False)
    with pytest.raises(EnrichmentError, match=r"block_px has changed"):
        do(block_px=2)


def test_a_step_that_makes_the_same_again_changes_nothing_after_it(kitchen: Kitchen) -> None:
    kitchen.do()
    kitchen.words["b"] = "twice"
    assert kitchen.do(overwrite=True) == ["b"]


def test_an_interrupted_step_goes_on(kitchen: Kitchen) -> None:
    kitchen.fails_in = "b"
    with pytest.raises(KeyboardInterrupt):
        kitchen.do()
    assert kitchen.states() == "a:done b:begun c:to do d:to do"
    kitchen.fails_in = None
    assert kitchen.do() == ["b", "c", "d"]
    assert [name for name in kitchen.worked if name.startswith("b")] == ["b", "b2"]  # two parts were there


def test_an_interrupted_step_does_not_go_on_with_other_settings(kitchen: Kitchen) -> None:
    kitchen.fails_in = "b"
    with pytest.raises(KeyboardInterrupt):
        kitchen.do()
    kitchen.fails_in, kitchen.words["b"] = None, "changed"
    with pytest.raises(EnrichmentError, match="word has changed"):
        kitchen.do()
    kitchen.do(overwrite=True)
    assert {(kitchen.folder / "b" / f"{part}.txt").read_text() for part in range(3)} == {"c"}


def test_outputs_that_were_touched_are_noticed(kitchen: Kitchen) -> None:
    kitchen.do()
    path = kitchen.folder / "a" / "1.txt"
    path.write_text("one")  # the same again: only the time has changed
    assert kitchen.do() == []
    path.write_text("eno")
    with pytest.raises(EnrichmentError, match="outputs were changed or removed"):
        kitchen.do()
    path.unlink()
    assert kitchen.states().startswith("a:changed")
    assert kitchen.do(overwrite=True) == ["a"]  # what it makes is what the others read before


def test_files_of_others_and_damaged_records_are_left_alone(kitchen: Kitchen) -> None:
    (kitchen.folder / "a").mkdir(parents=True)
    mine = kitchen.folder / "a" / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(EnrichmentError, match="not a step of a run"):
        kitchen.do(overwrite=True)
    assert mine.read_text() == "mine"
    mine.unlink()
    kitchen.do()
    (kitchen.folder / "c" / "step.json").write_text("{")
    with pytest.raises(EnrichmentError, match="is damaged"):
        kitchen.do()


@pytest.mark.parametrize("interrupted", [True, False])
def test_overwriting_a_step_keeps_the_users_files_in_its_folder(kitchen: Kitchen, interrupted: bool) -> None:
    kitchen.fails_in = "b" if interrupted else None
    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        kitchen.do()
    mine = [kitchen.folder / name for name in ("b/notes.txt", "b/figures/one.png", "notes.txt", ".b.dropped/notes.txt")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    kitchen.fails_in, kitchen.words["b"] = None, "changed"
    assert kitchen.do(overwrite=True)[0] == "b"
    assert (kitchen.folder / "b" / "2.txt").read_text() == "c"
    assert [path.read_text() for path in mine] == ["mine"] * 4
    assert kitchen.do() == []  # they are no outputs of the step
    (kitchen.folder / "b" / "notes.txt").write_text("mine, changed")
    assert kitchen.do() == []
    kitchen.words["b"] = "otherwise"
    kitchen.do(overwrite=True)
    assert mine[0].read_text() == "mine, changed"


def test_files_in_an_output_folder_that_came_after_the_step_are_the_users(tmp_path: Path) -> None:
    def step(word: str) -> Step:
        def work(folder: Path) -> Iterator[Progress]:
            for name in ("images/0.png", "64-images/state.pt", "64-images/below/.1234-5678.partial"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(word)
            yield Progress(1, 1)

        return Step("a", "do a", work, ("images",), {"word": word}, work_files=("64-*/**/*",))

    def do(word: str) -> None:
        list(StepRun(tmp_path, [step(word)]).carry_out(overwrite=True))

    do("one")
    (tmp_path / "a" / "images" / "mine.png").write_text("mine")
    (tmp_path / "a" / "64-images" / "mine.txt").write_text("mine")
    do("two")
    files = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    written = {"images/0.png", "64-images/state.pt", "64-images/below/.1234-5678.partial"}
    assert files == {"step.json", "images/mine.png", "64-images/mine.txt", *written}
    record = StepRecord.load(tmp_path / "a")
    assert record is not None
    assert {*record.files} == {"images/0.png"}
    assert {*record.written} == written
    assert {*record.strangers} == {"images/mine.png", "64-images/mine.txt"}


def killed_at(name: str, unlink: Callable[..., None]) -> Callable[..., None]:
    def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    return unlink_or_die


def test_a_step_that_was_being_dropped_is_dropped_and_done_again(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.do()
    kitchen.words["b"] = "changed"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_at("2.txt", Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            kitchen.do(overwrite=True)
    kitchen.words["b"] = "two"  # as it was: yet half of it may be gone
    assert "b:changed" in kitchen.states()
    with pytest.raises(EnrichmentError, match="it was being dropped"):
        kitchen.do()
    assert kitchen.do(overwrite=True) == ["b"]
    assert kitchen.do() == []


def test_files_beside_the_steps_are_the_callers_or_the_users(kitchen: Kitchen) -> None:
    kitchen.folder.mkdir()
    (kitchen.folder / "report.html").write_text("mine")
    with pytest.raises(RunFolderError, match=r"report\.html exists, and no run of enrich-app recorded"):
        kitchen.do(files=("report.html",))
    (kitchen.folder / "report.html").unlink()
    kitchen.do(files=("report.html",))
    (kitchen.folder / "report.html").write_text("the run's")
    assert kitchen.do(files=("report.html",)) == []


def test_a_run_has_one_process(kitchen: Kitchen) -> None:
    events = kitchen.run().carry_out()
    next(events)
    with pytest.raises(LockedError, match="a run is at work here"):
        kitchen.do()
    events.close()
    assert kitchen.do() == ["a", "b", "c", "d"]


def test_steps_come_after_what_they_read(kitchen: Kitchen) -> None:
    steps = [kitchen.step("b", ("a",)), kitchen.step("a", ())]
    with pytest.raises(EnrichmentError, match="before one that it reads"):
        StepRun(kitchen.folder, steps)
    with pytest.raises(EnrichmentError, match="twice"):
        StepRun(kitchen.folder, [kitchen.step("a", ()), kitchen.step("a", ())])


def test_time_and_disk_are_estimated_from_what_has_run(kitchen: Kitchen) -> None:
    assert {each.seconds for each in estimate(kitchen.run().status())} == {None}
    kitchen.fails_in = "b"
    with pytest.raises(KeyboardInterrupt):
        kitchen.do()
    first, second, third, fourth = estimate(kitchen.run().status())
    assert (first.seconds, first.bytes) == (0.0, 0)
    assert first.status.state is State.DONE
    assert second.seconds is not None
    assert third.seconds == pytest.approx(fourth.seconds)
    assert second.seconds == pytest.approx((third.seconds or 0) / 3)  # one part of three is left
    assert third.bytes
