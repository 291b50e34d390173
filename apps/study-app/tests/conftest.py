import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket
from sqlalchemy import select
from werkzeug.test import TestResponse

from run_folder.cli.testing import app_fixture
from study_app.accounts import Passwords, add_user, set_password, user_named
from study_app.database import Database, Image, Item, Showing, Side, Study, StudyKind, User
from study_app.images.pictures import NewPicture, prepare
from study_app.images.scaled import SlideSources
from study_app.images.slides import SlideRequest, import_slides
from study_app.images.storing import store
from study_app.installing import install, open_database, opened
from study_app.settings import SETTINGS_FILE, Settings, load_settings
from study_app.studies import NewStudy, add_reader, create_study, open_study, study_named
from study_app.web import create_app
from wsi_tiling import PyramidWriter

run_app = app_fixture("study-app")

PASSWORD = "correct horse battery"  # noqa: S105 - of the tests
PIXELS = 16
NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
_CHEAP = "argon2_time = 1\nargon2_memory_kib = 8\nargon2_lanes = 1\n"


@dataclass
class Clock:
    """A clock that goes on when it is told to, and a little with every look, as real ones do."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    def forward(self, **how_far: float) -> None:
        self.now += timedelta(**how_far)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the administrator 'anna', whose passwords cost next to nothing."""
    folder = tmp_path_factory.mktemp("template") / "installation"
    install(folder, admin="anna", password=PASSWORD)
    with (folder / SETTINGS_FILE).open("a") as file:
        file.write(_CHEAP)
    settings = load_settings(folder, {})
    with opened(settings) as database, database.writing() as session:
        set_password(session, Passwords(settings), user_named(session, "anna"), PASSWORD, now=NOON)
    return folder


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    """The settings of an installation of this test's own."""
    folder = tmp_path / "installation"
    shutil.copytree(template, folder)
    return load_settings(folder, {})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    yield opened
    opened.close()


def noise(seed: int, size_px: int = PIXELS) -> Any:
    """Purple noise with a colour of its own, (size_px, size_px, 3)."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 40, (size_px, size_px, 3)) + rng.integers([130, 50, 120], [190, 90, 180])).astype(np.uint8)


def pictures(count: int, version: str | None, first_seed: int) -> list[NewPicture]:
    return [prepare(noise(first_seed + n), PIXELS, name=f"{n:03d}.png", version=version) for n in range(count)]


MakeStudy = Callable[..., None]


def fill(
    settings: Settings,
    database: Database,
    clock: Callable[[], datetime],
    name: str = "tiles",
    *,
    pairs: int = 4,
    kind: StudyKind = StudyKind.PAIRS,
    versions: tuple[str, ...] = ("v1",),
    readers: tuple[str, ...] = ("berta",),
    opened: bool = True,
    seed: int = 7,
    reader_seed: int = 11,
    swapped: bool = False,
) -> None:
    """Makes a study with random pictures of 16 px, and its readers, all with one password."""
    study = draft(settings, database, clock, NewStudy(name, PIXELS, kind, seed=seed), readers, reader_seed)
    sides: list[str | None] = [None, *versions]
    seeds = [1000 * number for number in range(len(sides))]
    for version, first_seed in zip(sides, reversed(seeds) if swapped else seeds, strict=True):
        store(database, settings.images, study, pictures(pairs, version, first_seed), min_tissue=0)
    if opened:
        with database.writing() as session:
            open_study(session, study_named(session, name, lock=True), settings.images, now=clock())


def draft(
    settings: Settings,
    database: Database,
    clock: Callable[[], datetime],
    new: NewStudy,
    readers: tuple[str, ...],
    reader_seed: int = 11,
) -> Study:
    """Makes a study without images, and its readers, all with one password."""
    with database.writing() as session:
        study = create_study(session, new, now=clock())
        for reader in readers:
            user = session.scalar(select(User).where(User.name == reader)) or add_user(
                session, Passwords(settings), reader, PASSWORD, now=clock()
            )
            add_reader(session, study, user).seed = reader_seed
    return study


@pytest.fixture
def make_study(settings: Settings, database: Database, clock: Clock) -> MakeStudy:
    """Makes a study in the installation of this test; see `fill`."""
    return partial(fill, settings, database, clock)


@pytest.fixture
def other_site(template: Path, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Makes the site of another installation, with a study that is as asked for; see `fill`."""
    with ExitStack() as stack:

        def make(folder: str, **how: Any) -> Flask:
            shutil.copytree(template, tmp_path / folder)
            settings = load_settings(tmp_path / folder, {})
            made = create_app(settings, clock=Clock())
            database = made.extensions["study_app"].database
            stack.callback(database.close)
            fill(settings, database, Clock(), **how)
            return made

        yield make


class _Compiled(jinja2.BytecodeCache):
    """Templates that an app compiled, for the apps of the tests after it."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.known:
            bucket.bytecode_from_string(self.known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.known[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


@pytest.fixture
def app(settings: Settings, clock: Clock) -> Iterator[Flask]:
    """The site of the installation."""
    made = create_app(settings, clock=clock)
    made.testing = True
    made.jinja_env.bytecode_cache = _COMPILED
    yield made
    made.extensions["study_app"].database.close()


@dataclass
class Browser:
    """A browser: it keeps cookies, and sends the token of the last page against forged requests."""

    client: FlaskClient
    csrf: str = field(default="", repr=False)

    def get(self, path: str, **how: Any) -> TestResponse:
        response = self.client.get(path, **how)
        found = re.search(
            r'<meta name="csrf-token" content="([^"]+)"', response.text if response.mimetype == "text/html" else ""
        )
        self.csrf = found[1] if found else self.csrf
        return response

    def submit(self, path: str, **fields: str) -> TestResponse:
        """Sends a form."""
        return self.client.post(path, data={"csrf_token": self.csrf, **fields})

    def send(self, path: str, **fields: Any) -> TestResponse:
        """Sends JSON, as scripts do."""
        headers = {"X-CSRFToken": self.csrf, "Accept": "application/json"}
        return self.client.post(path, json=fields, headers=headers)

    def sign_in(self, name: str, password: str = PASSWORD) -> TestResponse:
        self.get("/sign-in")
        response = self.submit("/sign-in", name=name, password=password)
        if response.status_code == 303:
            self.get("/")
        return response

    def state(self, study: str = "tiles") -> Any:
        return self.get(f"/studies/{study}/state").get_json()

    def answer(self, chosen: str, study: str = "tiles") -> Any:
        """Answers what has its turn, and returns where the reader is then."""
        showing = self.state(study)["current"]["showing"]
        response = self.send(f"/studies/{study}/answers", showing=showing, chosen=chosen)
        assert response.status_code == 200, response.text
        return response.get_json()


@pytest.fixture
def new_browser() -> Callable[[Flask], Browser]:
    """Opens a browser at a site."""
    return lambda app: Browser(app.test_client())


NewBrowser = Callable[..., Browser]


@pytest.fixture
def browser(app: Flask) -> NewBrowser:
    """Opens a browser, in which someone is signed in if a name is given."""

    def open_browser(name: str = "") -> Browser:
        opened = Browser(app.test_client())
        if name:
            assert opened.sign_in(name).status_code == 303
        return opened

    return open_browser


@pytest.fixture
def truth(database: Database) -> Callable[[str], str]:
    """Tells on which side the real image of a showing is, or whether a single image is real."""

    def tell(token: str) -> str:
        with database.reading() as session:
            showing, item = session.execute(
                select(Showing, Item).join(Showing.item).where(Showing.token == token)
            ).one()
            if showing.real_side is None:
                return "synthetic" if item.real_image_id is None else "real"
            return str(showing.real_side)

    return tell


@pytest.fixture
def other_side() -> dict[str, str]:
    return {str(Side.LEFT): str(Side.RIGHT), str(Side.RIGHT): str(Side.LEFT)}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Folders 'real' and 'synthetic' with six pictures of 24 x 20 px each, the last of each of bare glass."""
    root = tmp_path / "folders"
    for side, first in (("real", 0), ("synthetic", 100)):
        (root / side).mkdir(parents=True)
        for number in range(6):
            pixels = noise(first + number, 24)[:20]
            if number == 5:
                pixels = np.full_like(pixels, 244 + first // 100)
            PIL.Image.fromarray(pixels).save(root / side / f"{number}.png")
    return root


@pytest.fixture
def image_files(database: Database) -> Callable[[], list[str]]:
    """The files of all images, as the database has them."""
    return lambda: list(_files(database))


def _files(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Image.file).order_by(Image.id)))


DrawSlide = Callable[..., Path]


@pytest.fixture
def draw_slide(tmp_path: Path) -> DrawSlide:
    """Draws a slide whose colours show the position; its first columns may be glass.

    Red is 60 at the left and grows by two shades a micrometre, green by two from the top.
    """

    def drawn(name: str, size: tuple[int, int] = (120, 100), mpp: float = 0.5, glass: int = 0) -> Path:
        x, y = np.meshgrid((np.arange(size[0]) + 0.5) * mpp, (np.arange(size[1]) + 0.5) * mpp)
        blue = 250 - zlib.crc32(name.encode()) % 8  # no two slides are alike
        pixels = np.rint(np.stack([60 + 2 * x, 2 * y, np.full_like(x, blue)], 2)).astype(np.uint8)
        pixels[:, :glass] = 245
        if name.endswith(".png"):  # which does not say its scale
            PIL.Image.fromarray(pixels).save(tmp_path / name)
        else:
            with PyramidWriter(tmp_path / name, size, mpp=mpp, quality=None) as writer:
                writer.write((0, 0), pixels)
        return tmp_path / name

    return drawn


MakeSlides = Callable[..., None]


@pytest.fixture
def make_slides(settings: Settings, database: Database, clock: Clock, draw_slide: DrawSlide) -> MakeSlides:
    """Makes a study of two pairs of slides, which is open, and its readers."""
    slides = [draw_slide(f"{name}.tiff", (300 + 4 * n, 310), 0.15, glass=30 * n) for n, name in enumerate("abcd")]

    def make(name: str = "slides", swapped: bool = False, readers: tuple[str, ...] = ("berta", "carl")) -> None:
        sides = tuple(slides[:2]), tuple(slides[2:])
        real, drawn = sides[::-1] if swapped else sides
        request = SlideRequest(name, SlideSources(real, drawn, "secretversion"))
        new = NewStudy(name, request.size_px, StudyKind.SLIDES, seed=7, mpp=request.sources.mpp)
        draft(settings, database, clock, new, readers)
        for _ in import_slides(database, settings.images, request):
            pass
        with database.writing() as session:
            open_study(session, study_named(session, name, lock=True), settings.images, now=clock())

    return make


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser in which pages are tested; where there is none, such tests are skipped, except in CI."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "the pages are tested in Chromium, which is not installed (Debian's package: chromium)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as driver, closing(driver.chromium.launch(executable_path=path, args=options)) as browser:
        yield browser
