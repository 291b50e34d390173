"""Many at once: what two tabs, double clicks and several readers send at the same time."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from study_app.database import Answer, Choice, Database, Showing, Sitting, StudyReader
from study_app.studies import Conflict, answer, close_study, reader_of, reader_state, sit, study_named, undo

IDLE = timedelta(minutes=30)
TABS = 8


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Runs jobs in threads that start together; an error is returned as such."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except Conflict as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))


def send(database: Database, clock: Any, user: int, what: Any, *arguments: Any, **more: Any) -> Any:
    with database.writing() as session:
        reader = reader_of(session, "tiles", user, lock=True)
        what(session, reader, *arguments, now=clock(), **more)
        return reader_state(session, reader, now=clock())


def look(database: Database, clock: Any, user: int) -> Any:
    return send(database, clock, user, lambda *_, now: None)


def rows(database: Database) -> list[tuple[int, str, bool | None]]:
    with database.reading() as session:
        query = select(Showing.user_id, Answer.chosen, Answer.live).join(Answer.showing).order_by(Answer.id)
        return [(user, str(chosen), live) for user, chosen, live in session.execute(query)]


def test_tabs_that_open_together_show_the_same(make_study: Any, database: Database, clock: Any) -> None:
    make_study()
    states = at_once([lambda: look(database, clock, 2)] * TABS)
    assert len(set(states)) == 1


def test_a_double_click_counts_once_and_is_confirmed_each_time(make_study: Any, database: Database, clock: Any) -> None:
    make_study()
    token = look(database, clock, 2).current.token
    states = at_once([lambda: send(database, clock, 2, answer, token, "left", idle=IDLE)] * TABS)
    assert {state.done for state in states} == {1}
    assert rows(database) == [(2, "left", True)]


def test_of_two_tabs_that_answer_otherwise_one_is_taken(make_study: Any, database: Database, clock: Any) -> None:
    make_study()
    token = look(database, clock, 2).current.token
    jobs = [
        lambda side=side: send(database, clock, 2, answer, token, side, idle=IDLE) for side in ["left", "right"] * 4
    ]
    results = at_once(jobs)
    assert sum(isinstance(result, Conflict) for result in results) == 4
    assert len(rows(database)) == 1


def test_undo_from_many_tabs_undoes_one_answer(make_study: Any, database: Database, clock: Any) -> None:
    make_study()
    for _ in range(3):
        last = send(database, clock, 2, answer, look(database, clock, 2).current.token, "left", idle=IDLE).undoable
    states = at_once([lambda: send(database, clock, 2, undo, last)] * TABS)
    assert {state.done for state in states} == {2}
    assert len({state.current.token for state in states}) == 1


def test_readers_do_not_get_in_each_others_way(make_study: Any, database: Database, clock: Any) -> None:
    names = tuple(f"reader {number}" for number in range(6))
    make_study(pairs=8, readers=names)

    def read_all(user: int) -> list[str]:
        chosen = []
        while current := look(database, clock, user).current:
            chosen.append("left" if len(chosen) % user else "right")
            send(database, clock, user, answer, current.token, chosen[-1], idle=IDLE)
        return chosen

    users = range(2, 8)
    chosen = dict(zip(users, at_once([lambda user=user: read_all(user) for user in users]), strict=True))
    found = rows(database)
    assert Counter(user for user, _, _ in found) == dict.fromkeys(users, 8)
    for user in users:
        assert [side for who, side, _ in found if who == user] == chosen[user]
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Sitting)) == len(users)


def test_a_study_that_is_closed_meanwhile_keeps_what_it_confirmed(
    make_study: Any, database: Database, clock: Any
) -> None:
    make_study(readers=("berta", "carl", "dora"))
    tokens = {user: look(database, clock, user).current.token for user in (2, 3, 4)}

    def close() -> None:
        with database.writing() as session:
            close_study(study_named(session, "tiles", lock=True), now=clock())

    jobs = [lambda user=user: send(database, clock, user, answer, tokens[user], "left", idle=IDLE) for user in tokens]
    *results, _ = at_once([*jobs, close])
    assert len(rows(database)) == sum(not isinstance(result, Conflict) for result in results)


def test_the_database_itself_refuses_second_answers_and_second_sittings(
    make_study: Any, database: Database, clock: Any
) -> None:
    make_study()
    token = look(database, clock, 2).current.token
    send(database, clock, 2, answer, token, "left", idle=IDLE)

    def add(row: Any) -> None:
        with database.writing() as session:
            session.add(row)

    with database.reading() as session:
        first = session.scalars(select(Answer)).one()
    same = {"showing_id": first.showing_id, "sitting_id": first.sitting_id, "chosen": Choice.RIGHT, "correct": True}
    for row in (
        Answer(token=token, answered=clock(), live=None, undone=clock(), **same),  # the same question
        Answer(token="t" * 43, answered=clock(), **same),  # the same showing
        Answer(token="t" * 43, answered=clock(), live=False, undone=clock(), **same),
        Answer(token="t" * 43, answered=clock(), undone=clock(), **same),  # live, and undone
        Sitting(study_id=1, user_id=2, started=clock(), last_seen=clock()),
        StudyReader(study_id=1, user_id=2, seed=1),
        Showing(token="t" * 43, item_id=1, user_id=99, left_token="l" * 43, created=clock()),
    ):
        with pytest.raises(IntegrityError):
            add(row)
    with pytest.raises(IntegrityError), database.writing() as session:
        session.execute(update(Showing).values(left_token="same"))  # noqa: S106
    assert rows(database) == [(2, "left", True)]


def test_one_sitting_lasts_at_a_time(make_study: Any, database: Database, clock: Any) -> None:
    make_study()

    def sit_down() -> int:
        with database.writing() as session:
            return sit(session, reader_of(session, "tiles", 2, lock=True), now=clock(), idle=IDLE).id

    assert len(set(at_once([sit_down] * TABS))) == 1
