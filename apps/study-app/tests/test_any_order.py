"""Requests of a reader's tabs, in any order and number, are counted as a simple list counts them."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from study_app.database import Answer, Database
from study_app.settings import DATABASE_FILE, Settings
from study_app.studies import Conflict, ReaderState, answer, pause, reader_of, reader_state, undo

IDLE = timedelta(minutes=30)
BERTA = 2
PAIRS = 3
sides = st.sampled_from(["left", "right"])


@pytest.fixture
def prepared(make_study: Any, settings: Settings, database: Database) -> Path:
    """A database file with a study of three pairs."""
    make_study(pairs=PAIRS)
    database.close()
    return settings.folder / DATABASE_FILE


class Tabs(RuleBasedStateMachine):
    """The model: answers that count, by token, and tokens that were undone."""

    def __init__(self, prepared: Path) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        copy = Path(self.folder.name) / DATABASE_FILE
        shutil.copy(prepared, copy)
        self.database = Database(f"sqlite:///{copy}")
        self.now = datetime(2026, 5, 4, tzinfo=UTC)
        self.counted: list[tuple[str, str]] = []
        self.undone: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    def send(self, what: Any, *arguments: Any, **more: Any) -> tuple[ReaderState, bool]:
        self.now += timedelta(seconds=1)
        with self.database.writing() as session:
            reader = reader_of(session, "tiles", BERTA, lock=True)
            try:
                what(session, reader, *arguments, now=self.now, **more)
                taken = True
            except Conflict:
                taken = False
            return reader_state(session, reader, now=self.now), taken

    def look(self) -> ReaderState:
        return self.send(lambda *_, now: None)[0]

    @rule(chosen=sides)
    def answers(self, chosen: str) -> None:
        current = self.look().current
        if current is not None:
            assert self.send(answer, current.token, chosen, idle=IDLE)[1]
            self.counted.append((current.token, chosen))

    @rule(chosen=sides)
    def answers_before_its_turn(self, chosen: str) -> None:
        following = self.look().following
        if following is not None:
            assert not self.send(answer, following.token, chosen, idle=IDLE)[1]

    @precondition(lambda self: self.counted)
    @rule(data=st.data(), chosen=sides)
    def sends_an_answer_again(self, data: st.DataObject, chosen: str) -> None:
        token, before = data.draw(st.sampled_from(self.counted))
        assert self.send(answer, token, chosen, idle=IDLE)[1] == (chosen == before)

    @precondition(lambda self: self.undone)
    @rule(data=st.data(), chosen=sides)
    def sends_an_undone_answer_again(self, data: st.DataObject, chosen: str) -> None:
        token, _ = data.draw(st.sampled_from(self.undone))
        assert not self.send(answer, token, chosen, idle=IDLE)[1]

    @precondition(lambda self: self.counted or self.undone)
    @rule(data=st.data())
    def undoes(self, data: st.DataObject) -> None:
        token, chosen = data.draw(st.sampled_from(self.counted[-1:] + self.counted + self.undone))
        taken = self.send(undo, token)[1]
        if (token, chosen) in self.undone:
            assert taken
        else:
            assert taken == (self.counted[-1][0] == token)
            if taken:
                self.undone.append(self.counted.pop())

    @rule()
    def pauses(self) -> None:
        self.send(pause)

    @invariant()
    def counts_what_the_model_counts(self) -> None:
        state = self.look()
        assert (state.done, state.total) == (len(self.counted), PAIRS)
        assert state.undoable == (self.counted[-1][0] if self.counted else None)
        with self.database.reading() as session:
            rows = session.query(Answer.token, Answer.chosen).where(Answer.live.is_(True)).order_by(Answer.id)
            assert [(token, str(chosen)) for token, chosen in rows] == self.counted


def test_any_order_of_requests(prepared: Path) -> None:
    few = hypothesis_settings(max_examples=8, stateful_step_count=14, deadline=None)
    run_state_machine_as_test(lambda: Tabs(prepared), settings=few)
