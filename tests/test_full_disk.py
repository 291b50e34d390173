"""A disk that is full, for real: the run says so in one line, and goes on when there is room again."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DISK_BYTES = 4 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("wants a small disk to fill, and there is no 'mount' here")
    if mounted.returncode:
        pytest.skip(f"wants a small disk to fill, which only root may mount: {mounted.stderr.strip()}")
    yield place
    # Lazily: slides that were read keep their file open until garbage is collected.
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Fills a disk to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(os.sysconf("SC_PAGE_SIZE"))):
            pass
    return filler


def patches(disk: Path) -> set[Path]:
    """The files of finished patches; those that joint sampling keeps for a step only do not count."""
    return {path for path in disk.glob("slide.canvas/*/c.*") if "-step-" not in path.parent.name}


@pytest.mark.parametrize("when", ["first", "midst", "last"])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(
    app: Any, undisturbed: Any, way: str, disk: Path, when: str
) -> None:
    out = disk / "slide.tiff"
    if when == "midst":
        app.sample(out, way, kill_at=undisturbed.patches // 2)
    elif when == "last":  # all is drawn, and the slide to be written
        app.sample(out, way, "halt")
        for left in disk.glob(".slide.tiff.*"):
            left.unlink()
    filler, before = fill(disk), patches(disk)

    full = app.sample(out, way, "--resume")
    (line,) = full.err.strip().splitlines()
    assert full.code == 1
    assert line.startswith("urcdm-app: ")
    assert "the disk is full; free some space" in line.replace("full:", "full;")
    assert patches(disk) >= before
    assert not out.exists()

    filler.unlink()
    resumed = app.sample(out, way, "--resume")
    assert resumed.code == 0, resumed.err
    assert undisturbed.equals(out)
    assert not (disk / "slide.canvas").exists()
