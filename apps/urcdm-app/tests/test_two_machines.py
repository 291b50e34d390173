"""Slides sampled on two machines of a Ray cluster; the second is simulated, with its own files, processes and name."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from urcdm import (
    LocalPatchExecutor,
    ModelSource,
    PatchExecutor,
    RayPatchExecutor,
    RunSettings,
    SerialPatchExecutor,
    SlideRun,
    Task,
    Urcdm,
)

RunApp = Callable[..., Any]

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # as the command line does, before Ray is imported
ray = pytest.importorskip("ray", reason="the extra urcdm-app[ray] is not installed")

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rmu", "--pid", "--fork", "true"], capture_output=True, check=False).returncode
        != 0,
        reason="the system does not let a process have files and a name of its own",
    ),
]

SIZE_L0 = (96, 96)
SECOND = """
hostname second
mount -t tmpfs none "$1/hidden"
mount --bind "$1/other" "$1/differing"
cd "$1/elsewhere"
exec "$2" -c "from ray.scripts.scripts import main; main()" start --address "$3" --num-cpus 1 --block \\
    --object-store-memory 100000000 --disable-usage-stats
"""
STARTING_S = 180


class Machines:
    """This machine, and a second one that does not see all of its files.

    Args:
        folder: For models: 'hidden' is empty on the second machine, and 'differing' holds the model of 'other' there.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("hidden", "other", "differing", "elsewhere"):
            (folder / name).mkdir()
        self.folder = folder
        ray.init(
            "local",
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100_000_000,
            _system_config={"health_check_period_ms": 2000, "health_check_initial_delay_ms": 30_000},
        )
        self.second = self._join(ray.get_runtime_context().gcs_address)

    def _join(self, address: str) -> "subprocess.Popen[bytes]":
        """Starts the second machine, again if this one is so busy that Ray gives up after half a minute."""
        command = ["unshare", "-rmu", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc", SECOND, "sh"]
        for _ in range(3):
            with (self.folder / "second.log").open("wb") as log:
                second = subprocess.Popen([*command, self.folder, sys.executable, address], stdout=log, stderr=log)
            until_s = time.monotonic() + STARTING_S
            while second.poll() is None and time.monotonic() < until_s:
                if ray.cluster_resources().get("CPU") == 2:
                    return second
                time.sleep(0.2)
            second.kill()
            second.wait()
        raise RuntimeError((self.folder / "second.log").read_text())

    def close(self) -> None:
        ray.shutdown()
        self.second.kill()
        self.second.wait()


@pytest.fixture(scope="module")
def machines(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    pair = Machines(folder)
    for name in ("hidden/model", "differing/model", "model"):
        shutil.copytree(model, folder / name)
    other = Urcdm.load(model)
    next(other.cascades[0].unets[0].parameters()).data.add_(1.0)
    other.save(folder / "other" / "model")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import this file
    try:
        yield pair
    finally:
        pair.close()


@pytest.fixture
def sample(run_app: RunApp, tmp_path: Path) -> RunApp:
    def sample(model: Path, name: str, *more: str) -> Any:
        return run_app("sample", "--model", model, "--out", tmp_path / name, "--size", "48", "--device", "cpu", *more)

    return sample


def pixels(path: Path) -> NDArray[np.int_]:
    slide = openslide.OpenSlide(path)
    return np.asarray(slide.read_region((0, 0), 0, slide.dimensions), int)[..., :3]


@pytest.mark.parametrize(
    ("folder", "words"), [("hidden", "no such folder or file"), ("differing", "differs from the model on this machine")]
)
def test_a_model_that_is_not_the_same_on_the_second_machine_is_refused(
    machines: Machines, sample: RunApp, tmp_path: Path, folder: str, words: str
) -> None:
    refused = sample(machines.folder / folder / "model", "slide.tiff", "--workers", "2")
    assert (refused.code, refused.err.count("\n")) == (1, 1), refused.err
    assert "on second: " in refused.err
    assert words in refused.err
    assert not (tmp_path / "slide.tiff").exists()


def test_both_machines_sample_the_slide_of_one_process(machines: Machines, sample: RunApp, tmp_path: Path) -> None:
    for name, workers in (("one.tiff", "1"), ("two.tiff", "2")):
        drawn = sample(machines.folder / "model", name, "--workers", workers)
        assert drawn.code == 0, drawn.err
    assert np.abs(pixels(tmp_path / "one.tiff") - pixels(tmp_path / "two.tiff")).max() <= 1
    assert json.loads((tmp_path / "two.json").read_text())["workers"] == 2


class Signing(SerialPatchExecutor):
    """A worker that writes down the machine that it is on, for each batch."""

    def __init__(self, source: ModelSource, signatures: Path) -> None:
        super().__init__()
        self.inner, self.signatures = LocalPatchExecutor(source.get()), signatures

    def run(self, tasks: Sequence[Task]) -> list[NDArray[Any]]:
        with self.signatures.open("a") as file:
            file.write(f"{platform.node()}\n")
        return self.inner.run(tasks)


def sample_patches(
    model: Urcdm, folder: Path, executor: PatchExecutor, midway: Callable[[], None] = lambda: None
) -> NDArray[np.int_]:
    """Samples a slide, and calls a function between two of its patches."""
    run = SlideRun.open(folder, model, RunSettings(SIZE_L0))
    for event in run.sample(executor, batch=1):
        if event.level == "high" and event.done == 3:
            midway()
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px).astype(int)


def test_the_run_continues_when_a_machine_is_lost(machines: Machines, tmp_path: Path) -> None:
    folder, signatures = machines.folder / "model", tmp_path / "signatures"
    model = Urcdm.load(folder)
    wanted = sample_patches(model, tmp_path / "one", LocalPatchExecutor(model))
    source = ModelSource.of(str(folder), Urcdm.load, model.fingerprint())
    both: list[str] = []

    def lose() -> None:
        both.extend(signatures.read_text().split())
        os.kill(machines.second.pid, signal.SIGKILL)

    with RayPatchExecutor(workers=2) as executor:
        executor.start(partial(Signing, source, signatures))
        sampled = sample_patches(model, tmp_path / "two", executor, lose)
        assert executor.lost == 1
    assert set(both) == {"second", platform.node()}
    assert np.abs(sampled - wanted).max() <= 1
