"""The page of whole slides in a real browser. What is seen tells places: green grows by two a micrometre."""

import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.serving import make_server

from study_app.database import Answer, Database

pytestmark = pytest.mark.browser

UM = 0.15
READY = "#answer[aria-busy=false]"
AT_REST = """() => [...document.querySelectorAll('.viewport')].every((element) => {
    const viewer = OpenSeadragon.getViewer(element);
    return !viewer.isAnimating() && viewer.world.getItemAt(0).getFullyLoaded();
})"""


class Page:
    """What a reader sees of two slides, and does."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def settle(self) -> None:
        self.page.wait_for_selector(READY)
        self.page.wait_for_timeout(60)  # what was just done has to reach the next frame
        self.page.wait_for_function(AT_REST)
        self.page.wait_for_timeout(60)

    def middle(self, pane: int) -> tuple[float, float]:
        box = self.page.locator(".viewport").nth(pane).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def heights(self) -> list[tuple[float, float]]:
        """Of each slide: micrometres that a pixel of the screen is, and those from the top to the middle."""
        screen = np.asarray(PIL.Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(float)
        found = []
        for pane in range(2):
            x, y = map(round, self.middle(pane))
            green = screen[y - 60 : y + 60, x - 5 : x + 5, 1].mean(1)
            slope, at_middle = np.polyfit(np.arange(-60, 60), green, 1)
            found.append((slope / 2, at_middle / 2))
        return found

    def wheel(self, pane: int, notches: int) -> None:
        self.page.mouse.move(*self.middle(pane))
        for _ in range(notches):
            self.page.mouse.wheel(0, -100)
            self.page.wait_for_timeout(60)
        self.settle()


@pytest.fixture
def page(chromium: Any, make_slides: Any, app: Flask, browser: Any) -> Iterator[Page]:
    """A study of two pairs of slides, before a reader; in the end the page must have had no error."""
    make_slides()
    visitor = browser("berta")
    troubles: list[str] = []
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    with ExitStack() as stack:
        for end in (thread.join, server.server_close, server.shutdown):
            stack.callback(end)
        context = stack.enter_context(closing(chromium.new_context(viewport={"width": 1024, "height": 768})))
        context.set_default_timeout(30_000)
        cookie = visitor.client.get_cookie("study_session")
        context.add_cookies([{"name": "study_session", "value": cookie.value, "url": address}])
        opened = context.new_page()
        opened.on("console", lambda line: troubles.append(f"{line.type}: {line.text}"))
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        opened.on("request", lambda asked: asked.url.startswith(address) or troubles.append(asked.url))
        opened.goto(f"{address}/studies/slides")
        yield Page(opened)
    assert troubles == []


def test_slides_are_zoomed_together_or_alone_and_answered(page: Page, database: Database, tmp_path: Path) -> None:
    page.settle()
    whole, other = page.heights()
    assert whole == pytest.approx(other, abs=0.3)
    bars = page.page.locator(".scale-bar").all_inner_texts()
    assert bars[0] == bars[1] == "10 µm"

    page.wheel(0, 3)
    zoomed, followed = page.heights()
    assert zoomed[0] < 0.75 * whole[0]
    assert followed == pytest.approx(zoomed, abs=0.5)

    page.page.get_by_label("Move together").uncheck()
    page.page.get_by_role("button", name="Zoom out of the right slide").click()
    page.settle()
    alone, out = page.heights()
    assert alone == pytest.approx(zoomed, abs=0.1)
    assert out[0] > 1.3 * alone[0]

    page.page.keyboard.press("l")  # together again, each where it is, at one zoom
    page.settle()
    assert page.page.get_by_label("Move together").is_checked()
    again = page.heights()
    assert again[0][0] == pytest.approx(again[1][0], rel=0.1)

    before = page.page.locator("#answer input[name=showing]").input_value()
    page.page.wait_for_timeout(300)  # sooner, it would be a double click
    page.page.keyboard.press("2")
    page.page.wait_for_function(
        "before => document.querySelector('#answer input[name=showing]').value !== before", arg=before
    )
    page.settle()
    assert page.heights()[0] == pytest.approx(whole, abs=0.3)  # the next ones are whole
    assert page.page.locator("#done").inner_text() == "1"
    page.page.wait_for_timeout(300)
    page.page.get_by_role("button", name="Left", exact=True).click()
    page.page.get_by_text("You have answered all 2.").wait_for()
    with database.reading() as session:
        assert session.scalar(select(func.count()).where(Answer.live.is_(True))) == 2
