"""Nothing that a reader gets tells which image is real; see also `test_truth_exchanged`."""

import re
from collections.abc import Callable
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
