"""A level whose stage is a latent one, in the grid with others: drawn in order, its neighbours held as latents."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig
from cdm_core.testing.tiny import tiny_latent_unet
from urcdm import LocalPatchExecutor, RunSettings, SlideRun, Urcdm

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="latent stages need diffusers"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' own
]

MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    """Its second level is one latent stage, of 2 px a latent."""
    model = make_model()
    latent = tiny_latent_unet(cond_images_channels=model.config.context_channels(1))
    stage = StageConfig(16, latent, schedule="scaled_linear", sampling=SamplingConfig(2, "dpmpp_2m", threshold="none"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        cascade = Cascade(CascadeConfig((stage,)))
    return Urcdm(model.config, [model.cascades[0], cascade, model.cascades[2]])


def drawn(model: Urcdm, folder: Path, batch: int, joint: bool = False) -> np.ndarray:
    run = SlideRun.open(folder, model, RunSettings((80, 48), joint=joint))
    *_, last = run.sample(LocalPatchExecutor(model), batch)
    assert last.done == last.total
    picture = run.levels()[1].picture
    return picture.picture(0, 0, *picture.size_px)


def test_a_latent_level_is_drawn_in_the_grid(model: Urcdm, tmp_path: Path) -> None:
    whole = drawn(model, tmp_path / "canvas", batch=8)
    assert whole.std() > 1
    one = drawn(model, tmp_path / "one", batch=1)
    assert np.abs(one.astype(int) - whole).max() <= 1  # rounding


def test_joint_sampling_of_the_others_goes_round_it(model: Urcdm, tmp_path: Path) -> None:
    assert drawn(model, tmp_path / "joint", batch=8, joint=True).std() > 1


def test_the_model_is_kept_in_its_folder(model: Urcdm, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert Urcdm.load(tmp_path / "model").fingerprint() == model.fingerprint()
