"""One reader, from the first pair to the last: what counts, what is undone, what is refused."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from run_folder import UsageError
from study_app.database import Answer, Database, Item, Showing, Sitting, StudyKind
from study_app.settings import Settings
from study_app.studies import (
    Conflict,
    NoStudyError,
    ReaderState,
    answer,
    close_study,
    end_sittings,
    mark_shown,
    open_study,
    pause,
    picture_of,
    reader_of,
    reader_state,
    studies_of,
    study_named,
    study_progress,
    undo,
)

IDLE = timedelta(minutes=30)
BERTA = 2  # the second user, after the administrator


class Desk:
    """A reader's place at a study."""

    def __init__(self, database: Database, clock: Any, user: int = BERTA) -> None:
        self.database, self.clock, self.user = database, clock, user

    def _do(self, what: Callable[..., None], *arguments: Any, **more: Any) -> ReaderState:
        with self.database.writing() as session:
            reader = reader_of(session, "tiles", self.user, lock=True)
            what(session, reader, *arguments, now=self.clock(), **more)
            return reader_state(session, reader, now=self.clock())

    def state(self) -> ReaderState:
        return self._do(lambda *_, now: None)

    def answer(self, chosen: str, token: str | None = None) -> ReaderState:
        current = self.state().current
        return self._do(answer, token or (current.token if current else ""), chosen, idle=IDLE)

    def undo(self, token: str | None = None) -> ReaderState:
        return self._do(undo, token or self.state().undoable)

    def shown(self, token: str) -> ReaderState:
        return self._do(mark_shown, token)

    def pause(self) -> ReaderState:
        return self._do(pause)

    def answers(self) -> list[Answer]:
        with self.database.reading() as session:
            query = select(Answer).join(Answer.showing).where(Showing.user_id == self.user).order_by(Answer.id)
            return list(session.scalars(query))


@pytest.fixture
def desk(make_study: Any, database: Database, clock: Any) -> Desk:
    make_study(pairs=4)
    return Desk(database, clock)


def test_from_the_first_pair_to_the_last(desk: Desk, truth: Callable[[str], str]) -> None:
    expected = []
    for done in range(4):
        state = desk.state()
        assert (state.done, state.total, state.is_open) == (done, 4, True)
        assert state.current is not None
        assert (state.following is None) == (done == 3)
        expected.append(truth(state.current.token) == "left")
        after = desk.answer("left")
        assert after.current == state.following
        assert after.undoable == state.current.token
    assert (after.done, after.current, after.following) == (4, None, None)
    assert [each.correct for each in desk.answers()] == expected
    with pytest.raises(Conflict, match="another one's turn"):
        desk.answer("left", "x" * 43)


def test_looking_again_shows_the_same(desk: Desk) -> None:
    assert desk.state() == desk.state()


def test_the_same_answer_sent_again_counts_once(desk: Desk) -> None:
    token = desk.state().current.token  # type: ignore[union-attr]
    first = desk.answer("left", token)
    assert desk.answer("left", token) == first
    desk.answer("right")
    assert desk.answer("left", token).done == 2  # late, from another tab
    assert [each.chosen for each in desk.answers()] == ["left", "right"]


def test_another_choice_for_what_is_answered_is_refused(desk: Desk) -> None:
    token = desk.state().current.token  # type: ignore[union-attr]
    desk.answer("left", token)
    with pytest.raises(Conflict, match="otherwise"):
        desk.answer("right", token)
    assert [each.chosen for each in desk.answers()] == ["left"]


def test_pairs_have_their_turn_and_are_not_skipped(desk: Desk) -> None:
    following = desk.state().following
    assert following is not None
    with pytest.raises(Conflict, match="another one's turn"):
        desk.answer("left", following.token)
    assert desk.answers() == []


@pytest.mark.parametrize("chosen", ["", "real", "LEFT", "middle"])
def test_choices_that_are_none(desk: Desk, chosen: str) -> None:
    with pytest.raises(UsageError, match="wanted left or right"):
        desk.answer(chosen)


def test_undo_gives_the_last_pair_its_turn_again_under_another_token(desk: Desk) -> None:
    desk.answer("left")
    before = desk.state()
    assert before.current is not None
    after = desk.answer("right")
    back = desk.undo()
    assert back.done == 1
    assert back.current is not None
    assert back.current.pictures == before.current.pictures
    assert back.current.token != before.current.token
    assert back.undoable == before.undoable
    assert desk.undo(after.undoable) == back  # sent again
    with pytest.raises(Conflict, match="undone"):
        desk.answer("right", after.undoable)  # a replay of what was undone
    again = desk.answer("left")
    assert again.done == 2
    assert desk.undo(after.undoable) == again  # a late replay undoes nothing new
    assert [(each.chosen, each.live) for each in desk.answers()] == [("left", True), ("right", None), ("left", True)]


def test_undo_goes_back_to_the_first(desk: Desk) -> None:
    for _ in range(4):
        desk.answer("left")
    for left in (3, 2, 1, 0):
        assert desk.undo().done == left
    assert desk.state().undoable is None
    with pytest.raises(Conflict, match="only the last"):
        desk.undo("x" * 43)


def test_only_the_last_answer_can_be_undone(desk: Desk) -> None:
    first = desk.answer("left").undoable
    desk.answer("left")
    with pytest.raises(Conflict, match="only the last"):
        desk.undo(first)
    assert desk.state().done == 2


def test_a_closed_study_takes_nothing_but_confirms_what_it_has(desk: Desk, settings: Settings) -> None:
    token = desk.answer("left").undoable
    waiting = desk.state().current
    assert waiting is not None
    with desk.database.writing() as session:
        close_study(study_named(session, "tiles", lock=True), now=desk.clock())
    closed = desk.state()
    assert (closed.is_open, closed.done, closed.current, closed.undoable) == (False, 1, None, None)
    assert desk.answer("left", token) == closed
    with pytest.raises(Conflict, match="closed"):
        desk.answer("left", waiting.token)
    with pytest.raises(Conflict, match="closed"):
        desk.undo(token)
    with desk.database.writing() as session:
        open_study(session, study_named(session, "tiles", lock=True), settings.images, now=desk.clock())
    assert desk.answer("right", waiting.token).done == 2


def test_time_shown_is_when_it_came_on_screen_and_not_when_it_was_loaded(desk: Desk) -> None:
    following = desk.state().following
    assert following is not None
    desk.clock.forward(seconds=10)
    desk.answer("left")
    on_screen = desk.clock.now
    desk.shown(following.token)
    desk.clock.forward(seconds=5)
    desk.shown(following.token)
    desk.answer("left")
    with desk.database.reading() as session:
        showing = session.scalars(select(Showing).where(Showing.token == following.token)).one()
    assert showing.first_shown is not None
    assert timedelta(0) < showing.first_shown - on_screen < timedelta(seconds=1)
    assert desk.answers()[1].answered - showing.first_shown > timedelta(seconds=5)


def test_an_answer_is_never_before_its_pair_should_the_clock_be_set_back(desk: Desk) -> None:
    current = desk.state().current
    assert current is not None
    desk.shown(current.token)
    desk.clock.forward(hours=-1)
    desk.answer("left")
    with desk.database.reading() as session:
        showing = session.scalars(select(Showing).where(Showing.token == current.token)).one()
    assert desk.answers()[0].answered == showing.first_shown


def test_sittings_end_by_pauses_by_signing_out_and_by_idling(desk: Desk) -> None:
    desk.answer("left")
    desk.clock.forward(minutes=29)
    desk.answer("left")  # the same sitting
    desk.clock.forward(minutes=31)
    desk.answer("left")  # another one
    desk.pause()
    desk.pause()
    desk.answer("left")  # a third
    with desk.database.writing() as session:
        end_sittings(session, BERTA, now=desk.clock())
    desk.undo()
    desk.answer("right")  # a fourth
    sittings = [each.sitting_id for each in desk.answers()]
    assert sittings == [1, 1, 2, 3, 4]
    with desk.database.reading() as session:
        rows = list(session.scalars(select(Sitting).order_by(Sitting.id)))
    assert [row.live for row in rows] == [None, None, None, True]
    assert rows[0].ended == rows[0].last_seen  # when something last happened, and not when that was found out
    assert all(row.started <= row.last_seen <= (row.ended or row.last_seen) for row in rows)


def test_readers_see_the_same_pairs_in_the_same_order_on_sides_of_their_own(
    make_study: Any, database: Database, clock: Any
) -> None:
    make_study(pairs=12, readers=("berta", "carl"))
    with database.writing() as session:
        reader_of(session, "tiles", 3).seed = 12
    seen = []
    for user in (2, 3):
        desk = Desk(database, clock, user)
        for _ in range(12):
            desk.answer("left")
        with database.reading() as session:
            query = select(Item.id, Showing.real_side).join(Showing.item).where(Showing.user_id == user)
            seen.append(list(session.execute(query.order_by(Showing.id))))
    assert [item for item, _ in seen[0]] == [item for item, _ in seen[1]]
    assert [side for _, side in seen[0]] != [side for _, side in seen[1]]


def test_nobody_answers_for_others_or_sees_their_pictures(make_study: Any, database: Database, clock: Any) -> None:
    make_study(readers=("berta", "carl"))
    make_study("other", readers=("dora",), pairs=2)
    berta, carl = Desk(database, clock, 2), Desk(database, clock, 3)
    shown = berta.state().current
    assert shown is not None
    with pytest.raises(Conflict):
        carl.answer("left", shown.token)
    last = berta.answer("left").undoable
    with pytest.raises(Conflict):
        carl.undo(last)
    with database.reading() as session:
        assert picture_of(session, shown.pictures[0], 2) is not None
        assert picture_of(session, shown.pictures[0], 3) is None
        with pytest.raises(NoStudyError):
            reader_of(session, "tiles", 4)
        assert [each.study.name for each in studies_of(session, 4)] == ["other"]
        assert [(each.reader, each.done) for each in study_progress(session, study_named(session, "tiles"))] == [
            ("berta", 1),
            ("carl", 0),
        ]


def test_drafts_are_not_for_readers(make_study: Any, database: Database) -> None:
    make_study(opened=False)
    with database.reading() as session:
        assert studies_of(session, BERTA) == []
        with pytest.raises(NoStudyError):
            reader_of(session, "tiles", BERTA)


def test_single_images(make_study: Any, database: Database, clock: Any, truth: Callable[[str], str]) -> None:
    make_study(kind=StudyKind.SINGLE, pairs=3)
    desk = Desk(database, clock)
    state, truths = desk.state(), []
    while state.current:
        assert len(state.current.pictures) == 1
        truths.append(truth(state.current.token))
        with pytest.raises(UsageError, match="wanted real or synthetic"):
            desk.answer("left")
        state = desk.answer("real")
    assert state.done == state.total == 6
    assert sorted(truths) == ["real"] * 3 + ["synthetic"] * 3
    assert [each.correct for each in desk.answers()] == [each == "real" for each in truths]


def test_a_study_opens_once_and_only_with_both_kinds_of_images(
    make_study: Any, settings: Settings, database: Database, clock: Any, image_files: Callable[[], list[str]]
) -> None:
    make_study(pairs=3, versions=("v1", "v2"), opened=False)

    def reopen() -> int:
        with database.writing() as session:
            return open_study(session, study_named(session, "tiles", lock=True), settings.images, now=clock())

    lost = settings.images / image_files()[4]
    lost.rename(lost.with_suffix(".away"))
    with pytest.raises(UsageError, match="1 of 9 files"):
        reopen()
    lost.with_suffix(".away").rename(lost)
    assert reopen() == 3
    with pytest.raises(UsageError, match="open already"):
        reopen()
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Item)) == 3
    make_study("empty", versions=(), opened=False)
    with database.writing() as session, pytest.raises(UsageError, match="4 real and 0 synthetic"):
        open_study(session, study_named(session, "empty", lock=True), settings.images, now=clock())
    with database.writing() as session, pytest.raises(UsageError, match="not open"):
        close_study(study_named(session, "empty"), now=clock())
