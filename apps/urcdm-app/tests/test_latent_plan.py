"""A plan with a level that starts from a model in diffusers' form."""

import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_core.config import LatentUnetConfig
from urcdm import Urcdm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what is deprecated inside diffusers is not ours to mend
    import diffusers

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

RunApp = Callable[..., Any]
MEDIUM = """
[[networks]]
level = "medium"
diffusers = "{folder}"
stage = {{ image_px = 16, unet = {{ cond_images_channels = 6{more} }}, sampling = {{ steps = 2 }} }}
training = {{ steps = 1, batch_size = 2, sample_every = 2 }}
"""


@pytest.fixture
def latent_plan(plan: Path, tmp_path: Path) -> Path:
    """The tiny plan with a latent network as its second."""
    network: dict[str, Any] = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = {
            "unet": diffusers.UNet2DConditionModel(
                cross_attention_dim=8,
                attention_head_dim=4,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                **network,
            ),
            "vae": diffusers.AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **network
            ),
            "scheduler": diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        }
    for name, part in parts.items():
        part.save_pretrained(tmp_path / "diffusers" / name)
    head, low, _, high = re.split(r"(?=\[\[networks\]\])", plan.read_text())
    path = tmp_path / "latent.toml"
    path.write_text(head + low + MEDIUM.format(folder=tmp_path / "diffusers", more="") + high)
    return path


def test_it_is_trained_resumed_and_drawn(run_app: RunApp, latent_plan: Path, picture: Path, tmp_path: Path) -> None:
    tiled = run_app("tile", picture, "--mpp", "0.5", "--plan", latent_plan, "--out", tmp_path / "tiles")
    assert tiled.code == 0, tiled.err
    words = [
        "train",
        "--tiles",
        tmp_path / "tiles",
        "--plan",
        latent_plan,
        "--out",
        tmp_path / "run",
        "--device",
        "cpu",
    ]
    trained = run_app(*words)
    assert trained.code == 0, trained.err
    words[words.index(latent_plan)] = tmp_path / "run" / "plan.toml"
    shutil.rmtree(tmp_path / "diffusers")  # a run that goes on needs no more than its own folder
    again = run_app(*words, "--resume")
    assert again.code == 0, again.err
    stage = Urcdm.load(tmp_path / "run" / "model").cascades[1].config.stages[0]
    assert isinstance(stage.unet, LatentUnetConfig)
    assert (stage.objective, stage.sampling.steps, stage.sampling.threshold) == ("noise", 2, "none")
    slide = tmp_path / "slide.tiff"
    drawn = run_app("sample", "--model", tmp_path / "run" / "model", "--out", slide, "--size", "48", "--device", "cpu")
    assert drawn.code == 0, drawn.err
    assert slide.exists()


def test_what_a_plan_must_leave_to_the_model(run_app: RunApp, latent_plan: Path, tmp_path: Path) -> None:
    latent_plan.write_text(latent_plan.read_text().replace("cond_images_channels = 6 }", "dim = 8 }"))
    refused = run_app("train", "--tiles", tmp_path, "--plan", latent_plan, "--out", tmp_path / "run")
    assert refused.code == 1
    assert "'dim' follows from the model" in refused.err
    assert refused.err.count("\n") == 1


def test_a_folder_that_lacks_something_is_told(run_app: RunApp, latent_plan: Path, tmp_path: Path) -> None:
    (tmp_path / "diffusers" / "vae" / "config.json").unlink()
    refused = run_app("train", "--tiles", tmp_path, "--plan", latent_plan, "--out", tmp_path / "run")
    assert refused.code == 1
    assert "it has no vae/config.json" in refused.err
    assert refused.err.count("\n") == 1
