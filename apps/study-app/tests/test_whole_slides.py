"""Pairs of whole slides: what is sent of them, to whom, and what cannot be told from it."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import select

from study_app.database import Database, Image, Showing, Side
from study_app.stored_images.tiles import TileGrid
from study_app.studies import study_named

TOKEN = re.compile(r"I[\w-]{50,60}\.[\w-]{6}\.[\w-]{27}|(?<![\w-])[\w-]{43}(?![\w-])")
CHANGING = {"Date", "Set-Cookie"}


def tiles(address: str, grid: TileGrid) -> Iterator[str]:
    for level in range(grid.pyramid.min_level, grid.pyramid.max_level + 1):
        for row in range(grid.columns(level)):
            for column in range(grid.columns(level)):
                yield f"{address}/{level}/{column}_{row}"


def headers(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in CHANGING}


def grid_of(database: Database, name: str = "slides") -> TileGrid:
    with database.reading() as session:
        return TileGrid(study_named(session, name).size_px)


def everything_sent(reader: Any, study: str, chosen: list[str], grid: TileGrid) -> Iterator[tuple[Any, ...]]:
    """All responses on the way through a study, without what is random; tiles by their headers and lengths."""

    def plain(response: Any) -> tuple[Any, ...]:
        return TOKEN.sub("TOKEN", response.text).replace(study, "STUDY"), headers(response), response.status_code

    for side in chosen:
        yield plain(reader.get(f"/studies/{study}"))
        current = reader.state(study)["current"]
        for slide in current["pictures"]:
            for address in tiles(slide, grid):
                tile = reader.get(address)
                picture = PIL.Image.open(io.BytesIO(tile.data))
                yield len(tile.data), headers(tile), tile.status_code, picture.size, sorted(picture.info)
            yield plain(reader.get(f"{slide}/8/7_7"))
        yield plain(reader.send(f"/studies/{study}/shown", showing=current["showing"]))
        yield plain(reader.send(f"/studies/{study}/answers", showing=current["showing"], chosen=side))
    yield plain(reader.get(f"/studies/{study}"))


def test_slides_and_the_same_with_truth_exchanged_cannot_be_told_apart(
    make_slides: Any, browser: Any, database: Database
) -> None:
    make_slides("slides-a")
    make_slides("slides-b", swapped=True)
    reader, chosen = browser("berta"), ["left", "right"]
    one, other = (
        list(everything_sent(reader, name, chosen, grid_of(database, name))) for name in ("slides-a", "slides-b")
    )
    assert one == other
    sent = [each for each in one if isinstance(each[0], int)]
    assert len(sent) == 2 * 2 * 5
    assert len({(length, tuple(sorted(headers.items()))) for length, headers, *_ in sent}) == 1
    for word in ("secretversion", ".tiff", "synthetic"):
        assert word not in str(one)


def test_tiles_show_the_slide_that_is_on_that_side(make_slides: Any, browser: Any, database: Database) -> None:
    """The glass on the left of a slide, of another width on each, tells which one it is."""
    make_slides()
    grid = grid_of(database)
    for name in ("berta", "carl"):
        reader = browser(name)
        current = reader.state("slides")["current"]
        with database.reading() as session:
            showing = session.scalars(select(Showing).where(Showing.token == current["showing"])).one()
            sides = [showing.item.real_image, showing.item.synthetic_image]
            names = [image.name for image in (sides if showing.real_side is Side.LEFT else sides[::-1]) if image]
            places = [session.scalars(select(Image.x).where(Image.name == each)).one() or 0 for each in names]
        for address, slide, x in zip(current["pictures"], names, places, strict=True):
            pixels = np.asarray(PIL.Image.open(io.BytesIO(reader.get(f"{address}/{grid.pyramid.max_level}/0_0").data)))
            glass = int((pixels[128].min(axis=1) > 200).sum())
            assert glass == pytest.approx(max(0, 30 * "abcd".index(slide[0]) - x), abs=2)


def test_tiles_are_one_readers_own(make_slides: Any, make_study: Any, browser: Any, app: Any) -> None:
    make_slides()
    make_study("tiles", pairs=2)
    berta, carl = browser("berta"), browser("carl")
    slide = berta.state("slides")["current"]["pictures"][0]
    assert berta.get(f"{slide}/8/0_0").status_code == 200
    assert carl.get(f"{slide}/8/0_0").status_code == 404
    stranger = app.test_client().get(f"{slide}/8/0_0")
    assert (stranger.status_code, stranger.location) == (302, "/sign-in")
    nothing = (slide, f"{slide}/7/0_0", f"{slide}/99/0_0", f"{slide}/8/0_1", f"{slide}/8/-1_0", f"{slide[:-1]}/8/0_0")
    assert [berta.get(address).status_code for address in nothing] == [404] * 6
    picture = berta.state("tiles")["current"]["pictures"][0]
    assert berta.get(picture).status_code == 200
    assert berta.get(f"{picture}/8/0_0").status_code == 404


def test_slides_are_answered_undone_and_paused_as_pictures_are(
    make_slides: Any, browser: Any, truth: Callable[[str], str]
) -> None:
    make_slides()
    reader = browser("berta")
    page = reader.get("/studies/slides")
    assert "Which slide is real?" in page.text
    first = reader.state("slides")["current"]
    after = reader.answer(truth(first["showing"]), "slides")
    assert (after["done"], after["total"]) == (1, 2)
    assert after["current"]["pictures"] != first["pictures"]
    back = reader.send("/studies/slides/undo", showing=first["showing"]).get_json()
    assert back["done"] == 0
    assert back["current"]["pictures"] == first["pictures"]
    assert reader.send("/studies/slides/pause").status_code == 204
