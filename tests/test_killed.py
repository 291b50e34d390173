"""A run that is killed, at any moment and as often as you like, goes on to the same slide."""

import signal
from pathlib import Path
from typing import Any

import numpy as np

KILLS = 3


def nothing_is_left_over(folder: Path) -> bool:
    """Whether the canvas and all temporary files are gone."""
    return not [path for path in folder.iterdir() if path.name == "slide.canvas" or path.name.startswith(".")]


def test_a_run_killed_three_times_ends_with_the_same_pixels(
    app: Any, undisturbed: Any, way: str, tmp_path: Path
) -> None:
    rng, out = np.random.default_rng(len(way)), tmp_path / "slide.tiff"
    for moment in np.sort(rng.choice(undisturbed.patches * 4 // 5, KILLS, replace=False)):
        killed = app.sample(out, way, "--resume", kill_at=moment, delay_s=rng.uniform(0, 0.02))
        assert killed.code == -signal.SIGKILL, killed.err
        assert sorted(path.name for path in tmp_path.iterdir()) == [".slide.canvas.lock", "slide.canvas"]

    resumed = app.sample(out, way, "--resume")
    assert resumed.code == 0, resumed.err
    assert len(resumed.done) < undisturbed.batches  # what was done is not done again
    assert undisturbed.equals(out)
    assert nothing_is_left_over(tmp_path)


def test_a_run_killed_while_the_slide_is_written_leaves_nothing_under_its_name(
    app: Any, undisturbed: Any, way: str, tmp_path: Path
) -> None:
    out = tmp_path / "slide.tiff"
    assert app.sample(out, way, "halt").code == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*.partial"))) == 1
    assert not out.exists()

    resumed = app.sample(out, way, "--resume")
    assert resumed.code == 0, resumed.err
    assert undisturbed.equals(out)
    assert nothing_is_left_over(tmp_path)
