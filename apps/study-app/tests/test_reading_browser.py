"""The reader's pages in a real browser: what readers see and do, and what goes wrong between them and the server."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

from study_app.database import Answer, Item, Showing, StudyKind, User

pytestmark = pytest.mark.browser

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SOONEST_MS = 260
"""So long a page takes no answer after a pair came on screen."""
READY = "#answer[aria-busy=false]"
KEYS = {"left": "1", "right": "2"}
PASSWORD = "correct horse battery"  # noqa: S105 - of the tests


class Quiet(WSGIRequestHandler):
    """Answers without writing down each request."""

    def log_request(self, *_: Any) -> None:
        pass


@dataclass
class Tab:
    """A reader at a page."""

    page: Any
    address: str
    troubles: list[str] = field(default_factory=list)

    def open(self, path: str = "/studies/tiles") -> "Tab":
        self.page.goto(self.address + path)
        return self

    def sign_in(self, name: str = "berta") -> None:
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.address + "/")

    def ready(self) -> "Tab":
        """Waits until an answer is taken."""
        self.page.wait_for_selector(READY)
        self.page.wait_for_timeout(SOONEST_MS)
        return self

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def click(self, choice: str) -> None:
        self.page.get_by_role("button", name=choice.capitalize(), exact=True).click()

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """For the page no time goes by meanwhile, however slow the machine is."""
        self.page.evaluate("() => { const moment = performance.now(); performance.now = () => moment; }")
        yield
        self.page.evaluate("() => delete performance.now")

    def showing(self) -> str:
        return str(self.page.locator("#answer input[name=showing]").input_value())

    def answered(self) -> str:
        return str(self.page.locator(".progress span").first.inner_text())

    def wait_for_next(self, before: str) -> None:
        self.page.wait_for_function(
            "before => document.querySelector('#answer input[name=showing]')?.value !== before", arg=before
        )

    def status(self) -> str:
        return str(self.page.locator("#status").inner_text())

    def wait_for_status(self, text: str) -> None:
        self.page.locator("#status", has_text=text).wait_for()


@dataclass(frozen=True)
class Place:
    """A site that is served, and the browser."""

    app: Flask
    address: str
    tab: Callable[..., Tab]

    def counted(self, reader: str = "berta") -> list[str]:
        """The answers that count, in the order of the pairs."""
        query = (
            select(Answer.chosen)
            .join(Answer.showing)
            .join(Showing.item)
            .join(User, User.id == Showing.user_id)
            .where(User.name == reader, Answer.live.is_(True))
            .order_by(Item.position)
        )
        with self.app.extensions["study_app"].database.reading() as session:
            return [str(each) for each in session.scalars(query)]


Serve = Callable[..., Place]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "the pages are tested in Chromium, which is not installed (Debian's package: chromium)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, closing(driver.chromium.launch(executable_path=path, args=OPTIONS)) as browser:
        yield browser


@pytest.fixture
def serve(chromium: Any, other_site: Callable[..., Flask], new_browser: Any) -> Iterator[Serve]:
    """Serves a study; in the end no page must have had an error, or asked anyone else for anything."""
    troubles: list[str] = []
    with ExitStack() as stack:

        def serve_it(**study: Any) -> Place:
            app = other_site("served", **study)
            server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            address = f"http://127.0.0.1:{server.server_port}"

            def tab(reader: str = "berta", beside: Tab | None = None, disturbed: bool = False, **how: Any) -> Tab:
                """Opens a tab, in a browser of its own or beside another; someone is signed in if a name is given."""
                how = {"viewport": {"width": 800, "height": 600}, **how}
                context = beside.page.context if beside else stack.enter_context(closing(chromium.new_context(**how)))
                context.set_default_timeout(20_000)
                if reader and not beside:
                    visitor = new_browser(app)
                    visitor.sign_in(reader)
                    cookie = visitor.client.get_cookie("study_session")
                    context.add_cookies([{"name": "study_session", "value": cookie.value, "url": address}])
                page = context.new_page()
                if not disturbed:
                    page.on("console", lambda line: troubles.append(f"{line.type}: {line.text}"))
                page.on("pageerror", lambda error: troubles.append(str(error)))
                page.on("request", lambda asked: asked.url.startswith(address) or troubles.append(asked.url))
                return Tab(page, address)

            return Place(app, address, tab)

        yield serve_it
    assert troubles == []


def test_eight_pairs_by_mouse_and_keyboard(serve: Serve) -> None:
    place = serve(pairs=8)
    tab = place.tab("").open("/")
    tab.sign_in()
    tab.page.get_by_role("link", name="tiles").click()
    chosen = ["left" if number % 3 else "right" for number in range(8)]
    for number, choice in enumerate(chosen):
        tab.ready()
        before = tab.showing()
        if number == 3:  # undone and answered again
            tab.press("2")
            tab.wait_for_next(before)
            tab.ready().press("u")
            tab.wait_for_status("undone")
            assert tab.answered() == "3 of 8"
            assert place.counted() == chosen[:3]
            tab.ready()
        tab.press(KEYS[choice]) if number % 2 else tab.click(choice)
        if number < 7:
            tab.wait_for_next(before)
    tab.page.get_by_text("You have answered all 8.").wait_for()
    assert place.counted() == chosen
    tab.page.get_by_role("button", name="Undo the last answer").click()
    assert tab.ready().answered() == "7 of 8"
    tab.click("left")
    tab.page.get_by_text("You have answered all 8.").wait_for()
    tab.page.get_by_role("link", name="Studies").first.click()
    tab.page.get_by_text("all answered").wait_for()
    tab.page.get_by_role("button", name="Sign out").click()
    tab.page.get_by_role("heading", name="Sign in").wait_for()
    tab.page.go_back()
    tab.page.get_by_role("heading", name="Sign in").wait_for()
    assert place.counted() == [*chosen[:7], "left"]


def test_two_readers_at_once(serve: Serve) -> None:
    place = serve(pairs=3, readers=("berta", "carl"))
    tabs = {"berta": place.tab("berta").open(), "carl": place.tab("carl").open()}
    for keys in ("12", "12", "21"):
        for key, tab in zip(keys, tabs.values(), strict=True):
            tab.ready().press(key)
    for tab in tabs.values():
        tab.page.get_by_text("You have answered all 3.").wait_for()
    assert place.counted("berta") == ["left", "left", "right"]
    assert place.counted("carl") == ["right", "right", "left"]


def test_double_clicks_held_keys_and_lost_confirmations_count_once(serve: Serve) -> None:
    place = serve(pairs=5)
    tab = place.tab(disturbed=True).open().ready()
    before = tab.showing()
    with tab.at_one_moment():
        tab.page.get_by_role("button", name="Left", exact=True).dblclick()
        tab.wait_for_next(before)
        tab.page.wait_for_selector(READY)
        tab.press("1")  # too soon after the pair came on screen
    assert tab.ready().answered() == "1 of 5"
    before = tab.showing()
    with tab.at_one_moment():
        tab.press("2")
        tab.press("2")
        tab.wait_for_next(before)
    tab.ready().page.get_by_role("button", name="Left", exact=True).focus()
    for _ in range(8):
        tab.page.keyboard.down("Enter")
        tab.page.wait_for_timeout(60)
    tab.page.keyboard.up("Enter")
    assert tab.ready().answered() == "3 of 5"

    def lose(route: Any) -> None:
        assert route.fetch().status == 200
        route.fulfill(status=502, body="bad gateway")

    tab.page.route("**/answers", lose, times=1)
    before = tab.showing()
    tab.press("2")
    tab.wait_for_next(before)
    assert tab.ready().answered() == "4 of 5"
    assert place.counted() == ["left", "right", "left", "right"]


def test_without_a_connection_the_answer_is_kept_told_of_and_sent_later(serve: Serve) -> None:
    place = serve(pairs=4)
    tab = place.tab(disturbed=True).open().ready()
    context = tab.page.context
    context.set_offline(True)
    before = tab.showing()
    tab.press("1")
    tab.wait_for_status("No connection. Your answer is saved")
    tab.press("2")  # nothing more is taken
    assert place.counted() == []
    context.set_offline(False)
    tab.wait_for_next(before)
    assert tab.ready().status() == ""
    assert place.counted() == ["left"]
    context.set_offline(True)
    tab.press("2")
    tab.wait_for_status("No connection")
    tab.page.close()  # the answer outlives the page
    context.set_offline(False)
    again = place.tab(beside=tab, disturbed=True).open().ready()
    assert again.answered() == "2 of 4"
    assert place.counted() == ["left", "right"]


def test_the_back_button_and_a_second_tab_lead_to_where_the_reader_is(serve: Serve) -> None:
    place = serve(pairs=5)
    tab = place.tab(disturbed=True).open("/").open().ready()
    late = place.tab(beside=tab, disturbed=True).open().ready()
    before = tab.showing()
    tab.press("1")
    tab.wait_for_next(before)
    tab.page.go_back()
    tab.page.get_by_text("1 of 5").wait_for()
    tab.page.go_forward()
    assert tab.ready().answered() == "1 of 5"
    late.press("2")  # to the pair that the first tab has answered
    late.wait_for_status("Not accepted")
    assert late.ready().showing() == tab.showing()
    late.press("2")
    late.wait_for_next(tab.showing())
    stale = tab.showing()
    tab.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")  # as from memory
    tab.wait_for_next(stale)
    assert tab.ready().showing() == late.ready().showing()
    assert place.counted() == ["left", "right"]


def test_an_answer_given_after_signing_out_elsewhere_is_kept_for_its_reader(serve: Serve) -> None:
    place = serve(pairs=3, readers=("berta", "carl"))
    tab = place.tab(disturbed=True).open().ready()
    other = place.tab(beside=tab).open("/")
    other.page.get_by_role("button", name="Sign out").click()
    other.page.get_by_role("heading", name="Sign in").wait_for()
    tab.press("2")
    tab.wait_for_status("You are signed out.")
    other.sign_in("carl")
    assert other.open().ready().answered() == "0 of 3"  # it is none of his
    other.page.get_by_role("button", name="Sign out").click()
    other.page.get_by_role("heading", name="Sign in").wait_for()
    other.sign_in("berta")
    assert other.open().ready().answered() == "1 of 3"
    assert (place.counted("berta"), place.counted("carl")) == (["right"], [])


def test_pictures_are_loaded_before_their_turn_and_said_to_be_on_screen_after_that(serve: Serve) -> None:
    place = serve(pairs=4)
    tab = place.tab(disturbed=True)
    told: list[tuple[str, str]] = []
    tab.page.on("requestfinished", lambda asked: told.append(("loaded", asked.url.split("/")[-1])))
    tab.page.on("request", lambda asked: asked.url.endswith("/shown") and told.append(("shown", asked.post_data)))
    tab.page.route("**/media/*", lambda route: route.abort(), times=2)
    tab.open()
    tab.wait_for_status("cannot be loaded")
    assert tab.page.locator("#answer").get_attribute("aria-busy") == "true"
    tab.ready()  # they have been loaded again
    for _ in range(2):
        before, loaded = tab.showing(), list(told)
        tab.press("1")
        tab.wait_for_next(before)
        tab.ready()
        addresses = tab.page.eval_on_selector_all(".picture img", "images => images.map(image => image.src)")
        assert {("loaded", address.split("/")[-1]) for address in addresses} <= set(loaded)
        assert tab.page.eval_on_selector_all(".picture img", "images => images.every(image => image.naturalWidth)")
    shown = [index for index, (what, _) in enumerate(told) if what == "shown"]
    assert len(shown) == 3
    pictures = [index for index, (what, name) in enumerate(told) if what == "loaded" and len(name) == 43]
    before_it = [sum(index < place for index in pictures) for place in shown]
    assert all(loaded >= own for loaded, own in zip(before_it, (2, 4, 6), strict=True))


def test_a_click_enlarges_and_escape_goes_back(serve: Serve) -> None:
    place = serve(pairs=2)
    tab = place.tab().open().ready()
    dialog = tab.page.get_by_role("dialog", name="Right image, enlarged")
    tab.page.get_by_role("button", name="Enlarge the right image").focus()
    tab.press("Enter")
    dialog.wait_for()
    view = tab.page.locator("#enlarged .view")
    assert view.evaluate("view => document.activeElement === view")
    width = view.locator("img").bounding_box()["width"]
    tab.press("1")
    assert place.counted() == []
    tab.press("+")
    assert view.locator("img").bounding_box()["width"] == pytest.approx(2 * width)
    before = view.evaluate("view => view.scrollLeft")
    x, y = 400, 300
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x - 90, y, steps=3)
    tab.page.mouse.up()
    assert view.evaluate("view => view.scrollLeft") == pytest.approx(before + 90, abs=1)
    tab.press("Escape")
    dialog.wait_for(state="hidden")
    assert tab.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Enlarge the right image"
    box = tab.page.get_by_role("button", name="Enlarge the left image").bounding_box()
    tab.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    middle = view.evaluate("view => (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth")
    assert middle == pytest.approx(
        max(0.25, view.evaluate("view => view.clientWidth / view.scrollWidth / 2")), abs=0.01
    )
    tab.page.get_by_role("button", name="Close").click()
    tab.press("1")
    tab.page.locator("#done", has_text="1").wait_for()
    assert place.counted() == ["left"]


SIZES = {"desktop": (1366, 900), "landscape": (1024, 768), "portrait": (768, 1024)}


def test_pages_fit_the_window_on_desktops_and_tablets(serve: Serve) -> None:
    place = serve(pairs=2)
    tab = place.tab().open()
    for width, height in SIZES.values():
        tab.page.set_viewport_size({"width": width, "height": height})
        left, right, *buttons = (
            button.bounding_box() for button in tab.page.locator("main button:visible").element_handles()
        )
        assert left["y"] == right["y"]
        assert left["width"] == left["height"] == right["width"] == right["height"] > 0.45 * min(width, height)
        assert left["x"] + left["width"] < right["x"]
        for box in (left, right, *buttons):
            assert box["height"] >= 44
            assert box["x"] >= 0
            assert box["y"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
    tab.page.set_viewport_size({"width": 320, "height": 640})  # also what 1280 px at 400 % are
    for path in ("/", "/studies/tiles", "/studies/tiles/pause"):
        assert tab.open(path).page.evaluate("document.documentElement.scrollWidth") <= 320


CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return (parts(colour)[3] ?? 1) > 0 || !element.parentElement ? colour : ground(element.parentElement);
  };
  const texts = [...document.body.querySelectorAll("*")].filter((element) =>
    !element.closest(":disabled, .unseen, .skip, script") && element.checkVisibility() &&
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  return texts.map((element) => {
    const [low, high] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => a - b);
    return [element.textContent.trim(), (high + 0.05) / (low + 0.05)];
  });
}"""


def test_pages_are_for_everyone(serve: Serve) -> None:
    """Names and order for who hears the page or goes by keys, and contrast for who sees it."""
    place = serve(pairs=2)
    tab = place.tab("", disturbed=True).open("/sign-in")
    contrasts = dict(tab.page.evaluate(CONTRASTS))
    tab.sign_in()
    contrasts |= tab.page.evaluate(CONTRASTS)
    tab.open().ready()
    assert (
        tab.page.locator("main").aria_snapshot()
        == """\
- main:
  - status
  - heading "Which image is real?" [level=1]
  - form "Which image is real?":
    - button "Enlarge the left image":
      - img "Left image"
    - button "Enlarge the right image":
      - img "Right image"
    - button "Left"
    - button "Right"
  - button "Undo" [disabled]
  - status
  - button "Pause"
  - status: 1 of 2"""
    )
    tab.press("1")
    tab.page.locator("#announcement", has_text="2 of 2").wait_for()
    names = []
    for _ in range(9):
        tab.press("Tab")
        names.append(tab.page.evaluate("document.activeElement.textContent.trim().split(/\\s/)[0]"))
        assert tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert names == ["To", "Studies", "Sign", "", "", "Left", "Right", "Undo", "Pause"]
    tab.page.context.set_offline(True)
    tab.ready().press("2")
    tab.wait_for_status("No connection")
    contrasts |= tab.page.evaluate(CONTRASTS)
    assert len(contrasts) > 15
    assert {text: contrast for text, contrast in contrasts.items() if contrast < 4.5} == {}


def test_single_images_and_a_pause_that_hides_them_and_ends_the_sitting(serve: Serve) -> None:
    place = serve(pairs=1, kind=StudyKind.SINGLE)
    tab = place.tab().open().ready()
    assert tab.page.locator(".picture").count() == 1
    before = tab.showing()
    tab.click("synthetic")
    tab.wait_for_next(before)
    tab.ready().page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("heading", name="Paused").wait_for()
    assert tab.page.locator("img").count() == 0
    tab.page.get_by_role("link", name="Go on").click()
    assert tab.ready().answered() == "1 of 2"
    tab.press("1")
    tab.page.get_by_text("You have answered all 2.").wait_for()
    assert place.counted() == ["synthetic", "real"]
    with place.app.extensions["study_app"].database.reading() as session:
        assert len(set(session.scalars(select(Answer.sitting_id)))) == 2


def test_without_scripts_forms_do(serve: Serve) -> None:
    place = serve(pairs=2)
    tab = place.tab(java_script_enabled=False).open()
    tab.click("left")
    assert tab.answered() == "1 of 2"
    tab.page.get_by_role("button", name="Undo").click()
    assert tab.answered() == "0 of 2"
    tab.click("right")
    tab.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("link", name="Go on").click()
    tab.click("left")
    tab.page.get_by_text("You have answered all 2.").wait_for()
    assert place.counted() == ["right", "left"]
