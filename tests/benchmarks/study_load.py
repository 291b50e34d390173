"""Many readers of one study at once: nothing is lost, doubled or mixed up, and how long they wait.

    uv run python tests/benchmarks/study_load.py [--readers 50] [--pairs 20] [--think S] [--kill] [--pixels 512]

`study-app serve` on SQLite, in a process of its own, and a thread with a connection of its own for each reader, on one
machine. Readers do what the page does: two pictures, the word that they are on screen, the answer; a tenth of the
answers is sent twice. They think for S seconds on average, or not at all, so that all ask all the time. With --kill the
server is killed when half of the answers are confirmed, what it had confirmed is looked up, and it is started again;
readers try until they get through.

Prints latencies in milliseconds, of requests that were answered, as JSON. Fails if the database does not hold what the
readers were told.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image as Picture
from sqlalchemy import select

from study_app.accounts import Passwords
from study_app.database import Answer, Item, Showing, User
from study_app.images.pictures import prepare
from study_app.images.storing import store
from study_app.installing import install, opened
from study_app.settings import Settings, load_settings
from study_app.studies import NewStudy, add_reader, create_study, open_study, study_named

PASSWORD = "correct horse battery"  # noqa: S105 - of made-up readers
STUDY = "tiles"
TWICE = 0.1
TRIES = 600
WAIT_S = 0.1
LONGEST_S = 60


class WrongError(Exception):
    """The server or its database did not keep its word."""


def make_installation(folder: Path, readers: int, pairs: int, pixels: int, seed: int) -> Settings:
    """An installation with an open study; its readers have one password, and one hash of it."""
    settings = install(folder, admin="anna", password=PASSWORD)
    rng, now = np.random.default_rng(seed), datetime.now(UTC)
    with opened(settings) as database:
        with database.writing() as session:
            study = create_study(session, NewStudy(STUDY, pixels, seed=seed), now=now)
            password_hash = Passwords(settings).hash(PASSWORD)
            for name in reader_names(readers):
                user = User(name=name, password_hash=password_hash, created=now)
                session.add(user)
                session.flush()
                add_reader(session, study, user)
        for version in (None, "v1"):
            drawn = [
                prepare(cloudy(rng, pixels), pixels, name=f"{number}.png", version=version) for number in range(pairs)
            ]
            store(database, settings.images, study, drawn, min_tissue=0)
        with database.writing() as session:
            open_study(session, study_named(session, STUDY, lock=True), settings.images, now=now)
    return settings


def reader_names(count: int) -> list[str]:
    return [f"reader {number}" for number in range(count)]


def cloudy(rng: np.random.Generator, pixels: int) -> Any:
    """Purple clouds, whose JPEG files are about as long as those of tissue."""
    small = rng.integers([110, 30, 100], [230, 170, 220], (pixels // 2, pixels // 2, 3)).astype(np.uint8)
    return np.asarray(Picture.fromarray(small).resize((pixels, pixels), Picture.Resampling.BICUBIC))


class Server:
    """`study-app serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "study_app", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        found = re.match(r"http://127.0.0.1:(\d+)/", line)
        if found is None:
            raise WrongError(f"the server did not start: {line}")
        self.port = int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@dataclass
class Tally:
    """What all readers together have been told, and how long it took."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    confirmed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of each showing, by its token: who answered, and what."""
    failed_tries: int = 0


class Reader(threading.Thread):
    """One reader, from signing in to the last pair."""

    def __init__(
        self, name: str, port: int, tally: Tally, gate: threading.Barrier, think_s: float, rng: np.random.Generator
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.tally, self.gate, self.think_s, self.rng = tally, gate, think_s, rng
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)
        self.cookie, self.csrf = "", ""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.sign_in()
            self.gate.wait(LONGEST_S)
            self.read()
        except BaseException as error:
            self.error = error
            self.gate.abort()
        finally:
            self.connection.close()

    def sign_in(self) -> None:
        self.page("/sign-in")
        form = urlencode({"csrf_token": self.csrf, "name": self.name, "password": PASSWORD})
        status, _ = self.ask("sign in", "/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
        if status != 303:
            raise WrongError(f"{self.name} cannot sign in: {status}")

    def read(self) -> None:
        page = self.page(f"/studies/{STUDY}")
        state = json.loads(self.ask("state", f"/studies/{STUDY}/state")[1])
        self.look(re.findall(r'src="(/media/[^"]+)"', page))
        while current := state["current"]:
            if state["following"]:
                self.look(state["following"]["pictures"])
            self.post("shown", showing=current["showing"])
            time.sleep(self.think_s * self.rng.uniform(0.5, 1.5))
            chosen = ("left", "right")[self.rng.integers(2)]
            for _ in range(1 + (self.rng.random() < TWICE)):
                state = self.post("answers", showing=current["showing"], chosen=chosen)
            with self.tally.lock:
                self.tally.confirmed[current["showing"]] = (self.name, chosen)
        if state["done"] != state["total"]:
            raise WrongError(f"{self.name} is at the end with {state['done']} of {state['total']} answers")

    def look(self, addresses: list[str]) -> None:
        for address in addresses:
            status, body = self.ask("picture", address)
            if status != 200 or not body.startswith(b"\xff\xd8"):
                raise WrongError(f"no picture: {status}")

    def page(self, path: str) -> str:
        status, body = self.ask("page", path)
        if status != 200:
            raise WrongError(f"{path}: {status}")
        text = body.decode()
        token = re.search(r'name="csrf-token" content="([^"]+)"', text)
        self.csrf = token[1] if token else ""
        return text

    def post(self, what: str, **fields: str) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "X-CSRFToken": self.csrf}
        status, body = self.ask(what, f"/studies/{STUDY}/{what}", json.dumps(fields), headers)
        if status not in (200, 204):
            raise WrongError(f"{self.name}: {what}: {status}, {body[:200]!r}")
        return json.loads(body) if body else None

    def ask(
        self, kind: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Asks until there is an answer, as the page does."""
        for _ in range(TRIES):
            begin = time.perf_counter()
            try:
                method = "GET" if body is None else "POST"
                self.connection.request(method, path, body, {"Cookie": self.cookie, **(headers or {})})
                response = self.connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()  # the next try opens it again
                with self.tally.lock:
                    self.tally.failed_tries += 1
                time.sleep(WAIT_S)
                continue
            self.cookie = (response.headers["Set-Cookie"] or self.cookie).split(";")[0]
            with self.tally.lock:
                self.tally.seconds[kind].append(time.perf_counter() - begin)
            return response.status, answer
        raise WrongError(f"{self.name} got no answer from {path}")


def check(settings: Settings, confirmed: dict[str, tuple[str, str]]) -> int:
    """Compares what readers were told with the database; returns how many answers it holds.

    Raises:
        WrongError: Answers are lost, doubled, mixed up or judged wrongly.
    """
    with opened(settings) as database, database.reading() as session:
        rows = session.execute(
            select(Answer, Showing, User.name, Item.position)
            .join(Answer.showing)
            .join(Showing.item)
            .join(User, User.id == Showing.user_id)
        ).all()
    held = {answer.token: (name, str(answer.chosen)) for answer, _, name, _ in rows}
    lost = [token for token, told in confirmed.items() if held.get(token) != told]
    if lost:
        raise WrongError(f"{len(lost)} of {len(confirmed)} confirmed answers are not what the database holds")
    if len(held) != len(rows) or len({(name, position) for _, _, name, position in rows}) != len(rows):
        raise WrongError("an answer was counted twice")
    if any(answer.correct != (str(answer.chosen) == str(showing.real_side)) for answer, showing, _, _ in rows):
        raise WrongError("an answer was judged wrongly")
    return len(rows)


def latencies(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each kind of request: how many there were, and milliseconds."""
    found = {}
    for kind, values in seconds.items():
        middle, slow, slowest = np.percentile(values, [50, 95, 99])
        found[kind] = {"requests": len(values)} | {
            name: round(1000 * float(value), 1)
            for name, value in (("median", middle), ("p95", slow), ("p99", slowest), ("max", max(values)))
        }
    return found


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Has all readers read the study, and returns the figures."""
    settings = make_installation(folder, options.readers, options.pairs, options.pixels, options.seed)
    total = options.readers * options.pairs
    server, tally, gate = Server(folder), Tally(), threading.Barrier(options.readers + 1)
    readers = [
        Reader(name, server.port, tally, gate, options.think, np.random.default_rng([options.seed, number]))
        for number, name in enumerate(reader_names(options.readers))
    ]
    figures: dict[str, Any] = {}
    try:
        for reader in readers:
            reader.start()
        gate.wait(LONGEST_S)
        begin = time.perf_counter()
        if options.kill:
            while len(tally.confirmed) < total // 2 and any(reader.is_alive() for reader in readers):
                time.sleep(0.005)
            server.kill()
            down = time.perf_counter()
            time.sleep(WAIT_S)  # what had been sent is read
            with tally.lock:
                confirmed = dict(tally.confirmed)
            figures["killed"] = {"confirmed": len(confirmed), "held": check(settings, confirmed)}
            server.start()
            figures["killed"]["seconds_down"] = round(time.perf_counter() - down, 1)
        for reader in readers:
            reader.join()
        elapsed = time.perf_counter() - begin
    except threading.BrokenBarrierError:
        elapsed = 0.0
    finally:
        server.kill()
    for reader in readers:
        if reader.error is not None and not isinstance(reader.error, threading.BrokenBarrierError):
            raise reader.error
    held = check(load_settings(folder), tally.confirmed)
    if not held == len(tally.confirmed) == total:
        raise WrongError(f"{held} answers are held and {len(tally.confirmed)} were confirmed, of {total}")
    return {
        "readers": options.readers,
        "pairs": options.pairs,
        "think_s": options.think,
        "cores": len(os.sched_getaffinity(0)),
        "answers": held,
        "seconds": round(elapsed, 1),
        "answers_a_second": round(total / elapsed, 1),
        "failed_tries": tally.failed_tries,
        **figures,
        "milliseconds": latencies(tally.seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--think", type=float, default=0.0, help="seconds, on average")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill", action="store_true", help="kill the server in the middle, and start it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder) / "installation", options), indent=1))


if __name__ == "__main__":
    main()
