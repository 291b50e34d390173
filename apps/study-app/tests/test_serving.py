"""The server itself: it says where it is, answers, and stops when it is told to."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import select

from study_app.database import Answer, Database
from study_app.serving import serve
from study_app.settings import Settings


@pytest.fixture
def server(make_study: Any, settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    make_study(pairs=5)
    command = [sys.executable, "-W", "error", "-m", "study_app", "serve", str(settings.folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        found = re.match(r"http://127.0.0.1:\d+", line)
        assert found, line + (process.stderr.read() if process.stderr else "")
        yield process, found[0]
        process.kill()


def signed_in(address: str) -> Any:
    """Opens addresses for berta."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = opener.open(f"{address}/sign-in").read().decode()
    token = re.search(r'csrf-token" content="([^"]+)', page)
    assert token
    fields = {"csrf_token": token[1], "name": "berta", "password": "correct horse battery"}
    opener.open(f"{address}/sign-in", urlencode(fields).encode())
    return opener


def test_a_server_that_is_killed_has_what_it_confirmed(
    server: tuple[subprocess.Popen[str], str], database: Database
) -> None:
    process, address = server
    opener = signed_in(address)
    page = opener.open(f"{address}/studies/tiles").read().decode()
    token = re.search(r'csrf-token" content="([^"]+)', page)
    assert token
    for done in range(3):
        state = json.load(opener.open(f"{address}/studies/tiles/state"))
        body = json.dumps({"showing": state["current"]["showing"], "chosen": "left"}).encode()
        request = urllib.request.Request(f"{address}/studies/tiles/answers", body)  # noqa: S310
        request.add_header("X-CSRFToken", token[1])
        request.add_header("Content-Type", "application/json")
        assert json.load(opener.open(request))["done"] == done + 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    with database.reading() as session:
        assert len(session.scalars(select(Answer)).all()) == 3


def test_it_stops_cleanly(app: Flask, settings: Settings) -> None:
    """SIGTERM comes while it serves; `serve` returns, and nothing listens any more."""
    seen: list[Any] = []

    def look_and_stop(address: str) -> None:
        with urllib.request.urlopen(f"{address}sign-in") as response:  # noqa: S310
            seen.append(response.headers)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threads: list[threading.Thread] = []

    def started(address: str) -> None:
        seen.append(address)
        threads.append(threading.Thread(target=look_and_stop, args=(address,)))
        threads[0].start()

    serve(app, settings, "127.0.0.1", 0, started=started)
    threads[0].join()
    assert "Server" not in seen[1]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(seen[0])  # noqa: S310


def test_an_address_that_cannot_be_had(run_app: Any, settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, told in (
            (("--port", port), f"127.0.0.1:{port} cannot be had"),
            (("--host", "no.such.host.invalid"), "--host no.such.host.invalid"),
            (("--host", "a" * 70), "no name of a host"),
        ):
            done = run_app("serve", settings.folder, *words)
            assert (done.code, len(done.err.splitlines())) == (1, 1)
            assert told in done.err
