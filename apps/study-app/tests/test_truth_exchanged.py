"""Two studies of the same pictures, real and synthetic exchanged, cannot be told apart by anything that is sent.

The one is read as the other, from signing in to signing out, and every response is compared: status, headers, body.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import PIL.Image
import pytest
from flask import Flask
from sqlalchemy import event, select

from study_app.database import Answer, Database, Image, Side, StudyKind
from study_app.studies import close_study, study_named
from study_app.studies.pairing import draw_pairs, draw_side

PAIRS = 4
CSRF = re.compile(r"I[\w-]{55}\.[\w-]{6}\.[\w-]{27}")
"""Against forged requests: a new one each second."""
TOKEN = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")
"""Of a showing or a picture."""
COOKIE = re.compile(r"(?<=study_session=)[^;]*|(?<=Expires=)[^;]*")
LOADED = re.compile(r'"(?:/static|\.)/([\w./-]+)"')
"""Files that a page or a script names."""
MakeSite = Callable[..., Flask]


class Transcript:
    """A reader's way through a study, and all that the server sends and does on it.

    Random tokens become their numbers, in the order in which they come up: what is the same token stays the same.
    """

    def __init__(self, app: Flask, browser: Any) -> None:
        self.app, self.reader = app, browser
        self.tokens: dict[str, str] = {}
        self.sent: list[tuple[Any, ...]] = []
        self.pictures: list[bytes] = []
        self.done: list[str] = []
        self.loaded: set[str] = set()
        database: Database = app.extensions["study_app"].database
        event.listen(database.engine, "before_cursor_execute", lambda *told: self.done.append(told[2]))

    def plain(self, text: str) -> str:
        text = CSRF.sub("CSRF", text)
        return TOKEN.sub(lambda found: self.tokens.setdefault(found[0], f"TOKEN-{len(self.tokens)}"), text)

    def note(self, response: Any) -> Any:
        """Keeps a response, and the statements that the database ran for it."""
        headers = [(name, COOKIE.sub("", self.plain(value))) for name, value in response.headers if name != "Date"]
        is_picture = response.content_type.startswith("image/jpeg")
        body = response.data if is_picture else self.plain(response.text)
        if is_picture:
            self.pictures.append(body)
        self.sent.append((response.status, headers, body, tuple(self.done)))
        self.done.clear()
        response.close()
        return response

    def get(self, path: str) -> Any:
        return self.note(self.reader.get(path))

    def send(self, what: str, **fields: str) -> Any:
        return self.note(self.reader.send(f"/studies/tiles/{what}", **fields)).get_json()

    def look(self) -> Any:
        """Loads the page as a browser does, with what it names."""
        page = self.get("/studies/tiles")
        for name in LOADED.findall(page.text):
            self.load(name)
        for address in re.findall(r'src="(/media/[^"]+)"', page.text):
            self.get(address)
        return self.get("/studies/tiles/state").get_json()

    def load(self, name: str) -> None:
        """Loads a file, with what it names, as browsers do: once."""
        if name not in self.loaded:
            self.loaded.add(name)
            for other in LOADED.findall(self.get(f"/static/{name}").text):
                self.load(other)

    def read(self, chosen: list[str]) -> "Transcript":
        """Signs in, answers as told, and does on the way what readers do, late and double requests among it."""
        self.get("/sign-in")
        self.note(self.reader.submit("/sign-in", name="berta", password="wrong" * 3))
        self.note(self.reader.submit("/sign-in", name="berta", password="correct horse battery"))  # noqa: S106
        self.get("/")
        state = self.look()
        for number, choice in enumerate(chosen):
            current = state["current"]["showing"]
            for item in filter(None, (state["current"], state["following"])):
                for address in item["pictures"]:
                    self.get(address)
            self.send("shown", showing=current)
            for _ in range(2):
                state = self.send("answers", showing=current, chosen=choice)
            other = next(each for each in chosen if each != choice)
            state = self.send("answers", showing=current, chosen=other)
            assert state.pop("error") == "this was answered otherwise"
            if number % 2:
                state = self.send("undo", showing=state["undoable"])
                state = self.send("answers", showing=state["current"]["showing"], chosen=choice)
            if number == 1:
                self.send("pause")
                self.get("/studies/tiles/pause")
                state = self.look()
        self.get("/studies/tiles")
        self.get("/")
        with self.app.extensions["study_app"].database.writing() as session:
            study = study_named(session, "tiles")
            close_study(study, now=study.created)
        self.done.clear()
        self.get("/studies/tiles")
        for path in ("/admin/", "/media/" + "x" * 43, "/studies/tiles/answers", "/none"):
            self.get(path)
        self.note(self.reader.submit("/sign-out"))
        return self


Read = Callable[..., Transcript]


@pytest.fixture
def read(other_site: MakeSite, new_browser: Callable[[Flask], Any]) -> Read:
    """Makes a site with a study, and reads it."""

    def make(folder: str, chosen: list[str], **study: Any) -> Transcript:
        app = other_site(folder, **study)
        return Transcript(app, new_browser(app)).read(chosen)

    return make


def view(real: list[int], synthetic: list[int], seed: int, reader_seed: int) -> list[tuple[int, int]]:
    """What a reader sees on the left and on the right."""
    pairs = draw_pairs(real, {"v1": synthetic}, seed)
    return [
        pair if draw_side(reader_seed, place) is Side.LEFT else (pair[1], pair[0]) for place, pair in enumerate(pairs)
    ]


def seeds_of_the_same_view(first: list[int], second: list[int], seed: int, reader_seed: int) -> tuple[int, int]:
    """Seeds that show the same pictures at the same places once real and synthetic are exchanged."""
    wanted = view(first, second, seed, reader_seed)
    unordered = [{*pair} for pair in wanted]
    same = next(n for n in itertools.count() if [{*pair} for pair in view(second, first, n, 0)] == unordered)
    return same, next(n for n in itertools.count() if view(second, first, same, n) == wanted)


def by_pixels(app: Flask) -> tuple[list[int], list[int]]:
    """Real and synthetic images in the order in which the draw takes them; each is known by its place among all."""
    with app.extensions["study_app"].database.reading() as session:
        is_real = session.scalars(select(Image.is_real).order_by(Image.sha256)).all()
    return [n for n, real in enumerate(is_real) if real], [n for n, real in enumerate(is_real) if not real]


def test_the_same_view_with_the_opposite_truth_is_sent_byte_for_byte(read: Read, other_site: MakeSite) -> None:
    """All that the reader sees is the same, so all that the server sends has to be; every answer has another truth."""
    real, synthetic = by_pixels(other_site("draft", pairs=PAIRS, opened=False))
    seed, reader_seed = seeds_of_the_same_view(real, synthetic, 7, 11)
    chosen = ["left", "right", "right", "left"]
    one = read("one", chosen, pairs=PAIRS, seed=7, reader_seed=11)
    other = read("other", chosen, pairs=PAIRS, seed=seed, reader_seed=reader_seed, swapped=True)
    assert correct(one) == [not each for each in correct(other)]
    assert len(one.sent) > 50
    assert one.sent == other.sent


def test_the_same_seeds_with_the_opposite_truth_differ_in_pixels_alone(read: Read) -> None:
    chosen = ["left", "right", "right", "left"]
    one, other = (read(f"{swapped}", chosen, pairs=PAIRS, swapped=swapped) for swapped in (False, True))
    assert set(one.pictures) == set(other.pictures)
    assert len({len(picture) for picture in one.pictures + other.pictures}) == 1
    assert list(without_pixels(one)) == list(without_pixels(other))


def test_single_images_with_the_opposite_truth_are_sent_byte_for_byte(read: Read) -> None:
    chosen = ["real", "synthetic", "synthetic", "real", "real", "synthetic"]
    one, other = (
        read(f"{swapped}", chosen, pairs=3, kind=StudyKind.SINGLE, swapped=swapped) for swapped in (False, True)
    )
    assert correct(one) == [not each for each in correct(other)]
    assert one.sent == other.sent


def test_nothing_is_decoded_or_encoded_while_readers_wait(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer for some pictures than for others was done when they were imported."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture is worked on")

    served = Transcript.read

    def without_pillow(self: Transcript, chosen: list[str]) -> Transcript:
        with monkeypatch.context() as patches:
            patches.setattr(PIL.Image, "open", forbidden)
            patches.setattr(PIL.Image.Image, "save", forbidden)
            return served(self, chosen)

    monkeypatch.setattr(Transcript, "read", without_pillow)
    assert len(read("one", ["left", "right"], pairs=2).pictures) > 4


def without_pixels(transcript: Transcript) -> Iterator[tuple[Any, ...]]:
    for status, headers, body, done in transcript.sent:
        yield status, headers, len(body) if isinstance(body, bytes) else body, done


def correct(transcript: Transcript) -> list[bool]:
    """Of the answers that count; the server knows, and nobody else."""
    with transcript.app.extensions["study_app"].database.reading() as session:
        return list(session.scalars(select(Answer.correct).where(Answer.live.is_(True)).order_by(Answer.id)))
