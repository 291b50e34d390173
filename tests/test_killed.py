"""A run that is killed in the middle goes on to the same slide."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wsi_tiling import open_slide

SIZE = "512x384"


def sample(out: Path, *more: str) -> list[str]:
    """The command; one patch at a time, so that a patch is computed alike whatever was done before it."""
    command = [sys.executable, "-m", "urcdm_app", "sample", "--out", str(out), "--size", SIZE]
    return [*command, "--steps", "2", "--batch", "1", "--device", "cpu", *more]


@pytest.mark.timeout(300)
def test_a_slide_killed_in_the_middle_and_resumed_has_the_same_pixels(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.tiff", tmp_path / "killed.tiff"
    subprocess.run(sample(whole), check=True, capture_output=True)

    run = subprocess.Popen(sample(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patches = tmp_path / "killed.canvas" / "high-128"
    deadline = time.monotonic() + 120
    while len(list(patches.glob("c.*"))) < 8 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not killed.exists()
    assert not killed.with_suffix(".png").exists()

    subprocess.run(sample(killed, "--resume"), check=True, capture_output=True)
    with open_slide(whole) as one, open_slide(killed) as other:
        size = one.size_l0
        assert size == other.size_l0 == (512, 384)
        assert np.array_equal(one.read((0, 0), size, size), other.read((0, 0), size, size))
