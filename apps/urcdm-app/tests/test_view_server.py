import _thread
import io
import json
import re
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from run_folder import UsageError
from urcdm_app.view.server import DEFAULT_PORT, create_app, listen
from urcdm_app.view.shown import ShownSlide, open_to_show
from wsi_tiling import ArraySlide, SlideError

RunApp = Callable[..., Any]
HERE = "http://127.0.0.1:8765"


@pytest.fixture
def shown(picture: Path) -> Iterator[ShownSlide]:
    opened = open_to_show(picture, 0)
    with opened.slide:
        yield opened


@pytest.fixture
def client(shown: ShownSlide) -> FlaskClient:
    return create_app([shown]).test_client()


def test_a_tile_has_the_slides_pixels_and_may_be_kept(client: FlaskClient, shown: ShownSlide) -> None:
    answer = client.get(f"/tiles/{shown.key}/9/1_0.png", base_url=HERE)
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(io.BytesIO(answer.data)) as tile:
        np.testing.assert_array_equal(np.asarray(tile), shown.slide.read((250, 0), (150, 254), (150, 254)))


@pytest.mark.parametrize("place", ["9/2_0", "9/0_2", "10/0_0", "9/-1_0", "9/0", "x/0_0", "999999999999/0_0"])
def test_tiles_outside_are_not_found(client: FlaskClient, shown: ShownSlide, place: str) -> None:
    assert client.get(f"/tiles/{shown.key}/{place}.png", base_url=HERE).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/tiles/{name}/0/0_0.png",
        "/tiles/%2e%2e/0/0_0.png",
        "/tiles/..%2f..%2f{name}/0/0_0.png",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/{name}",
        "//etc/passwd",
    ],
)
def test_no_address_reaches_a_file(client: FlaskClient, shown: ShownSlide, path: str) -> None:
    answer = client.get(path.format(name=str(shown.slide.path)), base_url=HERE, follow_redirects=True)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8765", 200), ("localhost:1", 200), ("evil.example:8765", 400), ("127.0.0.1.evil.example", 400)],
)
def test_only_this_machines_names_are_answered(client: FlaskClient, shown: ShownSlide, host: str, status: int) -> None:
    for path in ("/", "/static/view.js", f"/tiles/{shown.key}/0/0_0.png"):
        with client.get(path, headers={"Host": host}) as answer:
            assert answer.status_code == status


def test_nothing_is_loaded_from_elsewhere_or_by_others(client: FlaskClient) -> None:
    headers = client.get("/", base_url=HERE).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


def test_the_page_tells_what_is_known_of_a_slide(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((1500, 2000, 3), 200, np.uint8))
    name = 'it\'s <b>bold & "quoted".png'
    picture.save(tmp_path / name)
    picture.save(tmp_path / "scaled.tiff", dpi=(50800, 50800), description="Drawn by a model.")
    page = create_app([open_to_show(tmp_path / name, 0), open_to_show(tmp_path / "scaled.tiff", 1)]).test_client()
    text = page.get("/", base_url=HERE).text
    assert "<b>" not in text
    facts = [json.loads(unescape(found)) for found in re.findall("data-slide='([^']*)'", text)]
    assert [(slide["name"], slide["width"], slide["mpp"]) for slide in facts] == [
        (name, 2000, None),
        ("scaled.tiff", 2000, pytest.approx(0.5)),
    ]
    words = " ".join(text.split())
    assert "2,000 × 1,500 px · scale unknown" in words
    assert "2,000 × 1,500 px · 0.5 µm/px · 1 × 0.75 mm" in words
    assert "Drawn by a model." in words


def test_a_slide_that_cannot_be_read_is_told() -> None:
    class Damaged(ArraySlide):
        def read(self, *_: Any) -> Any:
            raise SlideError("bad.tiff is damaged")

    shown = ShownSlide(Damaged(np.zeros((9, 9, 3), np.uint8)), "0", "bad.tiff", "", None)
    answer = create_app([shown]).test_client().get("/tiles/0/0/0_0.png", base_url=HERE)
    assert (answer.status_code, answer.text) == (500, "bad.tiff is damaged")


def test_ports_are_this_machines_only_and_never_shared() -> None:
    with listen(0) as opened:
        host, port = opened.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(UsageError, match=f"--port {port}: .*0 for any free one"):
            listen(port)


def test_a_free_port_stands_in_for_the_usual_one(
    run_app: RunApp, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[str] = []

    def read_and_stop(address: str) -> None:
        with urllib.request.urlopen(address) as page:  # noqa: S310
            pages.append(page.read().decode())
        _thread.interrupt_main()

    monkeypatch.setattr("webbrowser.open", read_and_stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C may be off where tests run unattended
    try:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(("127.0.0.1", DEFAULT_PORT))
                other.listen()
            except OSError:
                pass  # it is taken, as this test wants it to be
            outcome = run_app("view", picture)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(rf"port {DEFAULT_PORT} is taken, so this is port (\d+)\n.*http://127\.0\.0\.1:\1/", outcome.out)
    assert outcome.out.endswith("closed\n")
    assert "disc.png" in pages[0]


def test_what_cannot_be_shown_is_told_in_one_line(run_app: RunApp, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    with listen(0) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ((picture, tmp_path / "none.svs"), "none.svs: no such file"),
            ((picture, tmp_path / "text.svs"), "text.svs is not a slide"),
            ((picture, "--port", port), f"--port {port}"),
        ):
            outcome = run_app("view", *arguments, "--no-browser")
            assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (1, "", 1)
            assert words in outcome.err
