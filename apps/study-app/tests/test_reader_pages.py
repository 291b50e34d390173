from typing import Any

import pytest
from sqlalchemy import select

from study_app.database import Answer, Database, Showing, StudyKind, StudyState
from study_app.studies import close_study, study_named


def counted(database: Database) -> list[str]:
    with database.reading() as session:
        return [str(each) for each in session.scalars(select(Answer.chosen).where(Answer.live.is_(True)))]


def test_a_study_can_be_read_without_scripts(make_study: Any, browser: Any, database: Database) -> None:
    make_study(pairs=3)
    reader = browser("berta")
    for number in range(3):
        page = reader.get("/studies/tiles").text
        assert "Which image is real?" in page
        assert f"{number}</span> of 3" in page
        showing = reader.state()["current"]["showing"]
        assert f'value="{showing}"' in page
        for _ in range(2):  # a double click
            response = reader.submit("/studies/tiles/answers", showing=showing, chosen="left")
            assert (response.status_code, response.location) == (303, "/studies/tiles")
    page = reader.get("/studies/tiles").text
    assert "You have answered all 3" in page
    assert reader.submit("/studies/tiles/undo", showing=reader.state()["undoable"]).status_code == 303
    assert "Which image is real?" in reader.get("/studies/tiles").text
    assert reader.submit("/studies/tiles/pause").location == "/studies/tiles/pause"
    page = reader.get("/studies/tiles/pause").text
    assert "Paused" in page
    assert "2 of 3" in page
    assert "/media/" not in page
    assert "2 of 3" in reader.get("/").text
    assert counted(database) == ["left"] * 2


def test_a_late_form_is_told_and_not_taken(make_study: Any, browser: Any, database: Database) -> None:
    make_study()
    reader = browser("berta")
    late = reader.state()["current"]["showing"]
    reader.get("/")
    reader.answer("left")
    assert reader.submit("/studies/tiles/answers", showing=late, chosen="right").status_code == 303
    assert "Not accepted" in reader.get("/studies/tiles").text
    assert counted(database) == ["left"]


def test_scripts_get_where_the_reader_is(make_study: Any, browser: Any) -> None:
    make_study(pairs=2)
    reader = browser("berta")
    state = reader.state()
    assert (state["open"], state["done"], state["total"], state["undoable"]) == (True, 0, 2, None)
    assert len(state["current"]["pictures"]) == len(state["following"]["pictures"]) == 2
    after = reader.answer("right")
    assert after["current"] == state["following"]
    assert (after["following"], after["undoable"]) == (None, state["current"]["showing"])
    again = reader.send("/studies/tiles/answers", showing=state["current"]["showing"], chosen="right")
    assert (again.status_code, again.get_json()) == (200, after)
    otherwise = reader.send("/studies/tiles/answers", showing=state["current"]["showing"], chosen="left")
    assert otherwise.status_code == 409
    assert otherwise.get_json() == after | {"error": "this was answered otherwise"}
    back = reader.send("/studies/tiles/undo", showing=after["undoable"])
    assert back.get_json()["current"]["pictures"] == state["current"]["pictures"]
    assert reader.send("/studies/tiles/undo", showing=after["undoable"]).get_json() == back.get_json()
    assert reader.send("/studies/tiles/pause").status_code == 204


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"showing": "x"},
        {"showing": 1, "chosen": "left"},
        {"showing": "x", "chosen": ["left"]},
        {"showing": "\ud800", "chosen": "left"},
    ],
)
def test_requests_that_make_no_sense(make_study: Any, browser: Any, fields: dict[str, Any]) -> None:
    make_study()
    reader = browser("berta")
    response = reader.send("/studies/tiles/answers", **fields)
    assert response.status_code == 400
    assert response.get_json()["error"]
    for body in ("no json", "[1]", '"text"', "null"):
        headers = {"X-CSRFToken": reader.csrf, "Content-Type": "application/json"}
        assert reader.client.post("/studies/tiles/answers", data=body, headers=headers).status_code == 400
    assert reader.state()["done"] == 0


def test_what_a_browser_kept_of_a_study_of_another_kind_is_not_taken_and_given_up(
    make_study: Any, browser: Any
) -> None:
    make_study(kind=StudyKind.SINGLE)
    reader = browser("berta")
    response = reader.send("/studies/tiles/answers", showing="x" * 43, chosen="left")
    assert (response.status_code, response.get_json()["done"]) == (409, 0)
    turn = reader.state()["current"]["showing"]
    assert reader.send("/studies/tiles/answers", showing=turn, chosen="left").status_code == 400


def seconds_shown(database: Database) -> list[float]:
    """How long each answered item was on screen, as far as the server knows."""
    with database.reading() as session:
        times = session.execute(select(Showing.first_shown, Answer.answered).join(Answer.showing).order_by(Answer.id))
        return [(answered - shown).total_seconds() for shown, answered in times if shown is not None]


def test_the_page_says_when_a_pair_came_on_screen(
    make_study: Any, browser: Any, database: Database, clock: Any
) -> None:
    make_study()
    reader = browser("berta")
    reader.get("/studies/tiles")
    for loading, looking in ((2, 5), (1, 7)):
        current = reader.state()["current"]["showing"]
        clock.forward(seconds=loading)
        assert reader.send("/studies/tiles/shown", showing=current).status_code == 204
        clock.forward(seconds=looking)
        reader.answer("left")
    with database.reading() as session:
        assert session.scalars(select(Showing.first_shown).order_by(Showing.id)).all()[2] is None  # only loaded
    assert seconds_shown(database) == pytest.approx([5, 7], abs=0.01)


def test_without_its_word_a_pair_is_shown_when_the_page_was_last_heard_of(
    make_study: Any, browser: Any, database: Database, clock: Any
) -> None:
    make_study()
    reader = browser("berta")
    for looking in (3, 4):  # a page without scripts
        reader.get("/studies/tiles")
        clock.forward(seconds=looking)
        reader.submit("/studies/tiles/answers", showing=reader.state()["current"]["showing"], chosen="left")
    clock.forward(seconds=5)
    reader.answer("left")  # a page whose word was lost
    reader.submit("/studies/tiles/pause")
    assert seconds_shown(database) == pytest.approx([3, 4, 5], abs=0.01)


def test_readers_see_their_results_once_the_study_is_closed_and_says_so(
    make_study: Any, browser: Any, database: Database, clock: Any, truth: Any, other_side: dict[str, str]
) -> None:
    make_study(pairs=3, readers=("berta", "carl"))
    reader = browser("berta")
    for right in (True, True, False):
        side = truth(reader.state()["current"]["showing"])
        reader.answer(side if right else other_side[side])

    def told(closed: bool, results_shown: bool) -> bool:
        with database.writing() as session:
            study = study_named(session, "tiles")
            study.state = StudyState.CLOSED if closed else StudyState.OPEN
            study.results_shown = results_shown
        pages = [reader.get(path).text for path in ("/studies/tiles", "/", "/studies/tiles/pause")]
        return "Correct answers: 2 of 3" in "".join(pages)

    assert [told(*each) for each in ((False, False), (False, True), (True, False))] == [False] * 3
    assert told(closed=True, results_shown=True)
    assert "Correct answers: 0 of 0" in browser("carl").get("/studies/tiles").text


def test_a_closed_study_says_so(make_study: Any, browser: Any, database: Database, clock: Any) -> None:
    make_study()
    reader = browser("berta")
    waiting = reader.state()["current"]["showing"]
    with database.writing() as session:
        close_study(study_named(session, "tiles"), now=clock())
    assert "This study is closed." in reader.get("/studies/tiles").text
    assert "closed" in reader.get("/").text
    response = reader.send("/studies/tiles/answers", showing=waiting, chosen="left")
    assert (response.status_code, response.get_json()["open"]) == (409, False)


def test_single_images_have_other_buttons(make_study: Any, browser: Any) -> None:
    make_study(kind=StudyKind.SINGLE, pairs=1)
    reader = browser("berta")
    page = reader.get("/studies/tiles").text
    assert "Is this image real or synthetic?" in page
    assert 'value="real"' in page
    assert 'value="synthetic"' in page
    assert len(reader.state()["current"]["pictures"]) == 1
    assert reader.answer("synthetic")["done"] == 1


def test_pictures_are_their_readers_own(make_study: Any, browser: Any) -> None:
    make_study(readers=("berta", "carl"))
    reader, other = browser("berta"), browser("carl")
    address = reader.state()["current"]["pictures"][0]
    response = reader.get(address)
    assert (response.status_code, response.content_type) == (200, "image/jpeg")
    assert other.get(address).status_code == 404
    assert browser("anna").get(address).status_code == 404
    assert reader.get("/media/" + "x" * 43).status_code == 404
    assert reader.get("/media/..%2f..%2fstudy.toml").status_code == 404


def test_there_is_nothing_elsewhere(make_study: Any, browser: Any) -> None:
    make_study()
    reader = browser("berta")
    for path in ("/studies/none", "/studies/none/state", "/none", "/static/../study.toml"):
        assert reader.get(path).status_code == 404
    assert "There is nothing here." in reader.get("/none").text
    assert reader.get("/studies/tiles/answers").status_code == 405
