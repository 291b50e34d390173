"""From the real slide to a model and a new slide, with a tiny plan, and with the built-in one."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, and what it wrote to standard error."""

    code: int
    err: str


RunApp = Callable[..., Outcome]


@pytest.fixture
def run_app(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunApp:
    """Runs the command line in this process."""
    from urcdm_app.cli import main

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["urcdm-app", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), capfd.readouterr().err)

    return run


def tiny_plan(path: Path) -> Path:
    """The fields and pixels of the built-in plan, with networks that take no time."""
    from urcdm.training.plan_file import read_plan
    from urcdm_app import builtin

    networks = []
    for network in read_plan(builtin.PLAN).networks:
        stage = network.stage
        lowres = f"lowres_px = {stage.lowres_px}" if stage.lowres_px else ""
        channels = stage.unet.cond_images_channels
        networks.append(
            f'[[networks]]\nlevel = "{network.level}"\ntraining = {{ steps = 1, batch_size = 1 }}\n'
            f"[networks.stage]\nimage_px = {stage.image_px}\n{lowres}\nsampling = {{ steps = 1, method = 'ddim' }}\n"
            # three halvings before the middle, which looks across at every pixel that is left
            "[networks.stage.unet]\ndim = 8\ndim_mults = [1, 1, 1, 1]\ncond_dim = 8\nlayer_attns = false\n"
            "attn_heads = 2\nattn_dim_head = 8\nmemory_efficient = true\n"
            "layer_cross_attns = false\nattend_at_middle = false\ninit_cross_embed = false\n"
            f"init_conv_kernel_size = 3\ncond_images_channels = {channels}\n"
        )
    head = builtin.PLAN.read_text().partition("[[networks]]")[0]
    path.write_text(head + "\n".join(networks))
    return path


@pytest.mark.parametrize("built_in", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_real_slide_is_tiled_trained_on_and_drawn_anew(run_app: RunApp, tmp_path: Path, built_in: bool) -> None:
    def app(*arguments: str | Path) -> None:
        outcome = run_app(*arguments)
        assert outcome.code == 0, outcome.err

    tiles, run, out = tmp_path / "tiles", tmp_path / "run", tmp_path / "new.tiff"
    plan = () if built_in else ("--plan", tiny_plan(tmp_path / "tiny.toml"))
    app("tile", SLIDE, *plan, "--out", tiles)
    counts = pd.read_parquet(tiles / "tiles.parquet").groupby("field_l0").size()
    assert counts[2048] >= 1
    assert counts[512] >= 10
    assert counts[128] >= 100
    app("train", "--tiles", tiles, *plan, "--out", run, "--steps", "1", "--batch", "2", "--device", "cpu")
    app("sample", "--model", run / "model", "--out", out, "--steps", "1", "--size", "256", "--device", "cpu")
    slide = openslide.OpenSlide(out)
    assert slide.dimensions == (256, 256)
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499)


def test_a_truncated_slide_is_told_in_one_line(run_app: RunApp, tmp_path: Path) -> None:
    half = tmp_path / "half.svs"
    half.write_bytes(SLIDE.read_bytes()[: SLIDE.stat().st_size // 2])
    result = run_app("tile", half, "--out", tmp_path / "tiles")
    assert result.code == 1
    assert len(result.err.strip().splitlines()) == 1
    assert "half.svs" in result.err
    assert not (tmp_path / "tiles").exists()
