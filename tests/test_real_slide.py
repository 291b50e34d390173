"""From the real slide to a model and a new slide, with the built-in plan."""

import subprocess
import sys
from pathlib import Path

import openslide
import pandas as pd
import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
SLIDE = REAL_DATA / "slides" / "CMU-1-Small-Region.svs"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not SLIDE.exists(), reason=f"no real slide at {SLIDE}"),
    pytest.mark.timeout(300),
]


def app(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "urcdm_app", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    return result


def test_a_real_slide_is_tiled_trained_on_and_drawn_anew(tmp_path: Path) -> None:
    tiles, run, out = tmp_path / "tiles", tmp_path / "run", tmp_path / "new.tiff"
    app("tile", SLIDE, "--out", tiles)
    counts = pd.read_parquet(tiles / "tiles.parquet").groupby("field_l0").size()
    assert counts[2048] >= 1
    assert counts[512] >= 10
    assert counts[128] >= 100
    app("train", "--tiles", tiles, "--out", run, "--steps", "2", "--batch", "2", "--device", "cpu")
    app("sample", "--model", run / "model", "--out", out, "--steps", "1", "--size", "512", "--device", "cpu")
    slide = openslide.OpenSlide(out)
    assert slide.dimensions == (512, 512)
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499)


def test_a_truncated_slide_is_told_in_one_line(tmp_path: Path) -> None:
    half = tmp_path / "half.svs"
    half.write_bytes(SLIDE.read_bytes()[: SLIDE.stat().st_size // 2])
    result = app("tile", half, "--out", tmp_path / "tiles", code=1)
    assert len(result.stderr.strip().splitlines()) == 1
    assert "half.svs" in result.stderr
    assert not (tmp_path / "tiles").exists()
