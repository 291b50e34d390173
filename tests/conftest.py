import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_tiling import open_slide


def pytest_collection_finish() -> None:
    """Has the garbage collector pass over the imported modules, and look for cycles more seldom, in all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: Its exit code, or the negative number of the signal that killed it.
        err: What it wrote to standard error.
        done: The patches that it told of as done, at each time it did.
    """

    code: int
    err: str
    done: list[int]


class AppInForks:
    """`urcdm-app sample` with a tiny model, as often as wanted, in processes that can be killed.

    One patch at a time, so that a patch is computed alike whatever was done before it.
    """

    def __init__(self, process: "subprocess.Popen[str]", model: Path) -> None:
        self.process, self.model = process, model

    def sample(self, out: Path, *more: str, kill_at: int | None = None, delay_s: float = 0.0) -> Ended:
        """Draws a slide; kills the process so many seconds after so many patches are done.

        With the argument 'halt' it is killed when the slide's file is whole but has no name.
        """
        arguments = ["sample", "--model", str(self.model), "--out", str(out), "--batch", "1", "--device", "cpu", *more]
        assert self.process.stdin is not None
        print(json.dumps(arguments), file=self.process.stdin, flush=True)
        pid, done = self._next()["pid"], []
        while "code" not in (told := self._next()):
            done += [told["done"]] if "done" in told else []
            if ("written" in told and "halt" in more) or (kill_at is not None and done and done[-1] >= kill_at):
                time.sleep(delay_s)
                os.kill(pid, signal.SIGKILL)
                kill_at = None
        return Ended(told["code"], told["err"], done)

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppInForks]:
    model = tmp_path_factory.mktemp("tiny") / "model"
    command = [sys.executable, str(Path(__file__).with_name("app_in_forks.py")), str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield AppInForks(process, model)
        assert process.stdin is not None
        process.stdin.close()


@dataclass(frozen=True)
class Undisturbed:
    """A slide that was drawn in one go.

    Args:
        pixels: Its pixels, (H, W, 3).
        patches: How many patches it is made of, those of all stages together.
        batches: How often it told that some were done.
    """

    pixels: NDArray[np.uint8]
    patches: int
    batches: int

    def equals(self, slide: Path) -> bool:
        """Whether a slide has the same pixels."""
        return bool(np.array_equal(pixels(slide), self.pixels))


@pytest.fixture(scope="session", params=["in-order", pytest.param("joint", marks=pytest.mark.thorough)])
def way(request: pytest.FixtureRequest) -> str:
    """The option for how patches are drawn."""
    return f"--{request.param}"


@pytest.fixture(scope="session")
def undisturbed(app: AppInForks, way: str, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The slide that all others must equal."""
    out = tmp_path_factory.mktemp("whole") / "slide.tiff"
    ended = app.sample(out, way)
    assert ended.code == 0, ended.err
    return Undisturbed(pixels(out), ended.done[-1], len(ended.done))


def pixels(path: Path) -> NDArray[np.uint8]:
    """All of a slide, (H, W, 3)."""
    with open_slide(path) as slide:
        return slide.read((0, 0), slide.size_l0, slide.size_l0)
