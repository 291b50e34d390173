"""A study, and the same study with real and synthetic exchanged, cannot be told apart by what leaves the server."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update

from study_app.database import Database, Item, Side, StudyReader

TOKEN = re.compile(r"I[\w-]{50,60}\.[\w-]{6}\.[\w-]{27}|(?<![\w-])[\w-]{43}(?![\w-])")
"""Against forged requests, or of a showing or a picture: random, and of one length."""
CHANGING = {"Date", "Set-Cookie"}


def without_tokens(text: str) -> str:
    return TOKEN.sub("TOKEN", text)


def headers(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in CHANGING}


def everything_sent(reader: Any, study: str, chosen: list[str]) -> Iterator[tuple[str, dict[str, str], int]]:
    """All responses on the way through a study, without what is random; pictures by their headers and lengths."""
    for side in chosen:
        page = reader.get(f"/studies/{study}")
        yield without_tokens(page.text).replace(study, "STUDY"), headers(page), page.status_code
        current = reader.state(study)["current"]
        for address in current["pictures"]:
            picture = reader.get(address)
            yield str(len(picture.data)), headers(picture), picture.status_code
        sent = reader.send(f"/studies/{study}/answers", showing=current["showing"], chosen=side)
        yield without_tokens(sent.text).replace(study, "STUDY"), headers(sent), sent.status_code
        back = reader.send(f"/studies/{study}/undo", showing=current["showing"])
        yield without_tokens(back.text).replace(study, "STUDY"), headers(back), back.status_code
        reader.answer(side, study)
    end = reader.get(f"/studies/{study}")
    yield without_tokens(end.text).replace(study, "STUDY"), headers(end), end.status_code


def test_the_truth_does_not_leave_the_server(make_study: Any, browser: Any) -> None:
    make_study("tiles-a", pairs=3)
    make_study("tiles-b", pairs=3, swapped=True)
    reader = browser("berta")
    chosen = ["left", "right", "right"]
    one, other = (list(everything_sent(reader, study, chosen)) for study in ("tiles-a", "tiles-b"))
    assert len(one) == 5 * 3 + 1
    assert one == other


def test_right_and_wrong_answers_are_confirmed_alike(
    make_study: Any, browser: Any, truth: Callable[[str], str], other_side: dict[str, str]
) -> None:
    make_study(pairs=4, readers=("berta", "carl"))
    sent = []
    for name, right in (("berta", True), ("carl", False)):
        reader = browser(name)
        chosen = []
        for _ in range(4):
            side = truth(reader.state()["current"]["showing"])
            chosen.append(side if right else other_side[side])
            sent.append(without_tokens(str(reader.answer(chosen[-1]))))
    assert sent[:4] == sent[4:]


def test_pictures_of_a_study_differ_in_their_pixels_alone(make_study: Any, browser: Any, image_files: Any) -> None:
    make_study(pairs=6)
    reader = browser("berta")
    seen = []
    for _ in range(6):
        seen += [reader.get(address) for address in reader.state()["current"]["pictures"]]
        reader.answer("left")
    assert len({response.data for response in seen}) == 12
    assert len({len(response.data) for response in seen}) == 1
    assert len({tuple(sorted(headers(response).items())) for response in seen}) == 1
    for name in ("ETag", "Last-Modified", "Content-Disposition", "Accept-Ranges"):
        assert name not in seen[0].headers


def test_the_same_pictures_change_places_with_the_side(make_study: Any, browser: Any, database: Database) -> None:
    """What a reader gets on the left is the real image just where the study says so."""
    make_study(pairs=1, readers=("berta", "carl"))
    berta, carl = browser("berta"), browser("carl")
    with database.writing() as session:
        session.execute(update(StudyReader).where(StudyReader.user_id == 3).values(seed=_seed_of_the_other_side()))
    seen = [[reader.get(address).data for address in reader.state()["current"]["pictures"]] for reader in (berta, carl)]
    assert seen[0] == seen[1][::-1]


def _seed_of_the_other_side() -> int:
    from study_app.studies.pairing import draw_side

    other = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}[draw_side(11, 0)]
    return next(seed for seed in range(100) if draw_side(seed, 0) is other)


@pytest.mark.parametrize("page", ["/", "/studies/tiles", "/studies/tiles/state"])
def test_no_name_number_or_version_is_in_a_page(make_study: Any, browser: Any, database: Database, page: str) -> None:
    make_study(versions=("secretversion",))
    text = browser("berta").get(page).text
    assert "secretversion" not in text
    assert ".png" not in text
    assert ".jpg" not in text
    assert "synthetic" not in text
    with database.reading() as session:
        assert session.get(Item, 1) is not None
