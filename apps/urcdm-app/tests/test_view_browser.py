"""The viewer in a real browser. The slides' colours tell where one is: red grows with x, green with y."""

import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from urcdm_app.view.server import create_app, listen, make_viewer_server
from urcdm_app.view.shown import ShownSlide, open_to_show
from wsi_tiling import ArraySlide, PyramidWriter, SlideError
from wsi_tiling.viewer import DeepZoom

pytestmark = pytest.mark.browser

REAL_SLIDE = Path(__file__).parents[4] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
UM_A_SHADE = 2.5
BLUE = 128
CLEAR = np.s_[10:-120, 10:-200]
"""Of a pane's picture, what neither the scale bar nor the navigator covers."""
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SETTLED = """() => document.body.dataset.ready && view.panes.every(({ viewer }) =>
    !viewer.isAnimating() && viewer.world.getItemAt(0).getFullyLoaded())"""

Open = Callable[..., "Page"]


class Page:
    """The viewer's page as a person meets it: what is seen, and hands on mouse and keyboard."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.seen: np.ndarray | None = None

    def settle(self) -> None:
        self.page.wait_for_timeout(40)  # what was just done has to reach the next frame
        self.page.wait_for_function(SETTLED)
        self.page.wait_for_timeout(40)
        self.seen = None

    def box(self, pane: int) -> tuple[float, float, float, float]:
        """Left, top, width and height of a pane's picture on the screen."""
        found = self.page.locator(".viewport").nth(pane).bounding_box()
        return found["x"], found["y"], found["width"], found["height"]

    def centre(self, pane: int) -> tuple[int, int]:
        left, top, width, height = self.box(pane)
        return round(left + width / 2), round(top + height / 2)

    def screen(self) -> np.ndarray:
        """The screen as it was when the page had last settled."""
        if self.seen is None:
            with Image.open(io.BytesIO(self.page.screenshot())) as image:
                self.seen = np.asarray(image.convert("RGB")).astype(int)
        return self.seen

    def place(self, pane: int, shift: tuple[int, int] = (0, 0)) -> tuple[float, float]:
        """Micrometres from the slide's corner that are seen beside the middle of a pane, told by their colour."""
        x, y = self.centre(pane)
        red, green, blue = self.screen()[y + shift[1], x + shift[0]]
        assert blue == BLUE, "wanted a pixel of the slide there"
        return red * UM_A_SHADE, green * UM_A_SHADE

    def um_px(self, pane: int) -> float:
        """Micrometres a pixel of the screen, from the colours of two places."""
        return (self.place(pane, (60, 0))[0] - self.place(pane, (-60, 0))[0]) / 120

    def wheel(self, pane: int, shift: tuple[int, int], notches: int) -> None:
        x, y = self.centre(pane)
        self.page.mouse.move(x + shift[0], y + shift[1])
        for _ in range(notches):
            self.page.mouse.wheel(0, -100)
            self.page.wait_for_timeout(60)  # faster notches are taken for one
        self.settle()

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.settle()

    def text(self, pane: int, part: str) -> str:
        return self.page.locator(".pane").nth(pane).locator(part).inner_text()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "the viewer is tested in Chromium, which is not installed (Debian's package: chromium)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, closing(driver.chromium.launch(executable_path=path, args=OPTIONS)) as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Serves slides and opens the page; in the end it must have had no error, and asked nobody else for anything."""
    troubles: list[str] = []
    with ExitStack() as stack:

        def open_it(slides: list[ShownSlide], expected_errors: bool = False) -> Page:
            server = make_viewer_server(create_app(slides), listen(0))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            address = f"http://127.0.0.1:{server.port}/"
            page = stack.enter_context(closing(chromium.new_page(viewport={"width": 1000, "height": 600})))
            page.set_default_timeout(30_000)
            if not expected_errors:
                page.on("console", lambda line: troubles.append(f"{line.type}: {line.text}"))
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith((address, "data:")) or troubles.append(asked.url))
            page.goto(address)
            opened = Page(page)
            opened.settle()
            return opened

        yield open_it
    assert troubles == []


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ShownSlide]]:
    """Two slides of other sizes and scales, 600 x 500 and 500 x 400 micrometres."""
    folder, found = tmp_path_factory.mktemp("slides"), []
    for number, (width, height, mpp) in enumerate(((1200, 1000, 0.5), (500, 400, 1.0))):
        y, x = np.mgrid[:height, :width] + 0.5
        red, green = np.rint(x * mpp / UM_A_SHADE), np.rint(y * mpp / UM_A_SHADE)
        path = folder / f"slide-{number}.tiff"
        with PyramidWriter(
            path, (width, height), mpp=mpp, quality=None, description=f"Drawn, number {number}."
        ) as writer:
            writer.write((0, 0), np.stack([red, green, np.full_like(red, BLUE)], axis=2).astype(np.uint8))
        found.append(open_to_show(path, number))
    yield found
    for shown in found:
        shown.slide.close()


def near(place: tuple[float, float], other: tuple[float, float], shades: float = 1.5) -> bool:
    return max(abs(place[0] - other[0]), abs(place[1] - other[1])) <= shades * UM_A_SHADE


def test_whole_slides_are_drawn_side_by_side_at_one_scale(open_page: Open, slides: list[ShownSlide]) -> None:
    page = open_page(slides)
    for pane in (0, 1):
        _, _, width, height = page.box(pane)
        um_px = max(600 / width, 500 / height)  # what both slides together need
        for shift in ((0, 0), (-150, -90), (80, 60)):
            assert near(page.place(pane, shift), (300 + shift[0] * um_px, 250 + shift[1] * um_px))
    assert page.text(0, "h2") == "slide-0.tiff"
    assert page.text(1, ".facts") == "500 × 400 px · 1 µm/px · 0.5 × 0.4 mm"
    assert page.text(1, ".made summary") == "Drawn, number 1."
    assert page.page.locator(".pane").nth(0).locator(".navigator canvas").count() >= 1


def test_the_wheel_zooms_at_the_pointer_and_takes_the_other_slide_along(
    open_page: Open, slides: list[ShownSlide]
) -> None:
    page, pointer = open_page(slides), (-70, 40)
    start, below = page.um_px(0), page.place(0, pointer)
    for pane in (0, 1):
        before = page.um_px(pane)
        page.wheel(pane, pointer, 3)
        assert near(page.place(pane, pointer), below)
        assert page.um_px(pane) < 0.8 * before
        assert near(page.place(0), page.place(1))
        assert page.um_px(0) == pytest.approx(page.um_px(1), abs=2 * UM_A_SHADE / 120)
    assert page.um_px(0) < 0.4 * start


def test_slides_that_are_not_linked_go_their_own_ways_and_are_linked_again_where_they_are(
    open_page: Open, slides: list[ShownSlide]
) -> None:
    page = open_page(slides)
    page.press("1")
    page.press("l")
    start = page.place(0)
    x, y = page.centre(1)
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 100, y, steps=4)
    page.page.wait_for_timeout(200)  # held still, so that it is not thrown
    page.page.mouse.up()
    page.settle()
    assert near(page.place(0), start)
    assert near(page.place(1), (start[0] - 50, start[1]))
    page.press("l")
    page.wheel(0, (0, 0), 2)
    assert near(page.place(0), start)
    assert near(page.place(1), (start[0] - 50, start[1]))
    page.press("0")
    assert near(page.place(1), page.place(0))


def test_the_keyboard_does_all_that_the_mouse_does(open_page: Open, slides: list[ShownSlide]) -> None:
    page = open_page(slides)
    whole = page.um_px(0)
    page.press("1")
    assert page.um_px(0) == pytest.approx(0.5, abs=2 * UM_A_SHADE / 120)
    start = page.place(0)
    page.page.keyboard.down("ArrowRight")
    page.page.wait_for_timeout(200)
    page.page.keyboard.up("ArrowRight")
    page.settle()
    assert page.place(0)[0] > start[0] + 10
    assert near(page.place(0), page.place(1))
    page.press("-")
    assert page.um_px(1) == pytest.approx(0.75, abs=2 * UM_A_SHADE / 120)
    page.press("0")
    assert page.um_px(0) == pytest.approx(whole, abs=2 * UM_A_SHADE / 120)
    for key in ("f", "r"):  # turned or flipped slides would not be at the same place any more
        page.press(key)
    assert near(page.place(0), page.place(1))


def test_keys_are_for_the_slide_that_the_tab_key_has_reached(open_page: Open, slides: list[ShownSlide]) -> None:
    page = open_page(slides)
    page.press("l")
    before = page.um_px(0), page.um_px(1)
    page.press("Tab")
    page.press("+")
    assert page.um_px(0) == before[0]
    assert page.um_px(1) == pytest.approx(before[1] / 1.5, abs=2 * UM_A_SHADE / 120)


def test_magnification_and_scale_bar_tell_the_scale(open_page: Open, slides: list[ShownSlide]) -> None:
    page = open_page(slides)
    page.press("1")
    for pane in (0, 1):
        assert page.text(pane, ".magnification") == "20×"
        bar = page.page.locator(".scale-bar").nth(pane)
        assert bar.inner_text() == "50 µm"
        assert bar.bounding_box()["width"] == pytest.approx(100, abs=0.5)


def test_slides_of_unknown_scale_are_linked_by_their_width(open_page: Open) -> None:
    y, x = np.mgrid[:300, :400]
    image = np.stack([x / 2, y / 2, np.full(x.shape, BLUE)], axis=2).astype(np.uint8)
    double = image.repeat(2, 0).repeat(2, 1)
    unknown = [
        ShownSlide(ArraySlide(picture), f"{i}", f"{i}.png", "", None) for i, picture in enumerate((image, double))
    ]
    page = open_page(unknown)
    page.wheel(0, (50, 30), 3)
    assert near(page.place(0), page.place(1))
    assert near(page.place(0, (50, -40)), page.place(1, (50, -40)))
    percent = [float(page.text(pane, ".magnification").removesuffix(" %")) for pane in (0, 1)]
    assert percent[0] == pytest.approx(2 * percent[1], abs=2)
    assert not page.page.locator(".scale-bar").nth(0).is_visible()
    assert "scale unknown" in page.text(0, ".facts")
    assert "does not say" in page.text(0, ".made")


def test_tiles_join_without_a_seam_at_any_zoom(open_page: Open) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((900, 750), Image.Resampling.BICUBIC))
    pages = []
    for pyramid in (DeepZoom((900, 750)), DeepZoom((900, 750), tile_px=1024)):
        shown = ShownSlide(ArraySlide(image), "0", "noise.png", "", None)
        vars(shown)["pyramid"] = pyramid
        pages.append(open_page([shown]))
    for zoom in (0.73, 0.97, 2.7):
        seen = []
        for page in pages:
            page.page.evaluate("zoom => view.panes[0].show(new OpenSeadragon.Point(0.56, 0.56), 1 / 900 / zoom)", zoom)
            page.settle()
            left, top, width, height = map(int, page.box(0))
            seen.append(page.screen()[top : top + height, left : left + width][CLEAR])
        assert np.abs(seen[0] - seen[1]).max() <= 3  # browsers round as they interpolate; a seam differs by far more


def test_parts_that_cannot_be_read_are_told(open_page: Open) -> None:
    class Damaged(ArraySlide):
        def read(self, xy_l0: Any, *size: Any) -> Any:
            if xy_l0[0] > 200:
                raise SlideError("bad.tiff is damaged")
            return super().read(xy_l0, *size)

    slide = Damaged(np.full((300, 600, 3), BLUE, np.uint8))
    page = open_page([ShownSlide(slide, "0", "bad.tiff", "", None)], expected_errors=True)
    page.press("1")
    page.page.locator(".problem").wait_for(state="visible")


def test_six_slides_and_a_small_window_stay_in_order(open_page: Open, slides: list[ShownSlide]) -> None:
    six = [ShownSlide(shown.slide, str(i), shown.name, "", None) for i, shown in enumerate(slides * 3)]
    page = open_page(six)
    boxes = [page.box(pane) for pane in range(6)]
    assert len({round(left) for left, *_ in boxes}) == 3
    assert len({round(top) for _, top, *_ in boxes}) == 2
    page.page.set_viewport_size({"width": 500, "height": 600})
    page.settle()
    assert len({round(page.box(pane)[0]) for pane in range(6)}) == 1
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 500
    page.wheel(0, (20, 20), 2)
    assert near(page.place(0), page.place(1))


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_SLIDE.exists(), reason=f"no real slide at {REAL_SLIDE}")
def test_the_real_slide_is_seen_pixel_by_pixel(open_page: Open) -> None:
    shown = open_to_show(REAL_SLIDE, 0)
    with shown.slide as slide:
        page = open_page([shown])
        left, top, width, height = map(round, page.box(0))
        page.page.evaluate(
            "([x, y]) => view.panes[0].show(new OpenSeadragon.Point(x / 2220, y / 2220), 1 / 2220)",
            [900 + width / 2, 1200 + height / 2],
        )
        page.settle()
        seen = page.screen()[top : top + height, left : left + width][CLEAR]
        expected = slide.read((900, 1200), (width, height), (width, height))[CLEAR]
        assert np.abs(seen - expected).mean() < 0.5
        assert page.text(0, ".magnification") == "20×"
