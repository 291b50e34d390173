"""Latent stages, made of tiny models of diffusers' own classes, as folders that the library has written."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import (
    Cascade,
    CascadeConfig,
    CheckpointError,
    ConfigError,
    SamplingConfig,
    Schedule,
    StageConfig,
    sample_stage,
)
from cdm_core.distillation.teacher import student_of
from cdm_core.interop.diffusers import latent_network, latent_stage
from cdm_core.networks.latent import LatentUnet
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.widen import widen
from cdm_core.training.state import load_trained
from cdm_core.training.students import distill_stage

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

Generators = Callable[..., list[torch.Generator]]
NETWORK = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
FEW = SamplingConfig(3, "dpmpp_2m", threshold="none")


def from_diffusers(folder: Path, image_px: int, **options: Any) -> tuple[StageConfig, LatentUnet]:
    stage = latent_stage(folder, image_px, **options)
    return stage, latent_network(folder, stage)


@pytest.fixture(scope="module")
def diffusers() -> Any:
    """The library, imported when a test is run: it takes seconds, which others need not wait for."""
    return pytest.importorskip("diffusers", reason="latent stages need diffusers")


@pytest.fixture(scope="module")
def folder(diffusers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as Stable Diffusion's, of 2 px a latent, and with fresh weights."""
    folder: Path = tmp_path_factory.mktemp("diffusers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            cross_attention_dim=12,
            attention_head_dim=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            **NETWORK,
        )
        autoencoder = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **NETWORK
        )
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction"
    )
    for part, name in ((unet, "unet"), (autoencoder, "vae"), (scheduler, "scheduler")):
        part.save_pretrained(folder / name)
    return folder


class Colours:
    """Pictures of one colour, which their condition tells."""

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        shade = torch.full((1, 16, 16), 0.2 if draw % 2 else 0.8)
        return {"image": shade.expand(3, -1, -1), "cond_images": shade}


def test_the_stage_is_what_the_folder_says(diffusers: Any, folder: Path) -> None:
    stage, network = from_diffusers(folder, 16, sampling=FEW)
    assert (stage.objective, stage.schedule, stage.sample_shape) == ("v", "scaled_linear", (4, 8, 8))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    theirs = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        latents = theirs.encode(images).latent_dist.mode() * theirs.config.scaling_factor
        decoded = theirs.decode(latents / theirs.config.scaling_factor).sample
    torch.testing.assert_close(network.encode(images), latents)
    torch.testing.assert_close(network.decode(latents), decoded)


def test_times_are_told_as_the_networks_own_steps(diffusers: Any, folder: Path) -> None:
    stage, network = from_diffusers(folder, 16)
    scheduler = diffusers.DDIMScheduler.from_pretrained(folder / "scheduler")
    kept = scheduler.alphas_cumprod.double()
    log_snrs = torch.log(kept / (1 - kept)).float()
    steps = torch.tensor([0, 1, 17, 500, 998, 999])
    torch.testing.assert_close(network._step(log_snrs[steps]), steps.float(), rtol=0, atol=0.02)
    ours = Schedule("scaled_linear").log_snr(torch.linspace(0, 1, 1000))
    torch.testing.assert_close(ours, log_snrs, rtol=0, atol=0.02)
    x_t = torch.randn(2, *stage.sample_shape, generator=torch.Generator().manual_seed(0))
    theirs = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    with torch.no_grad():
        wanted = theirs(x_t, 500, encoder_hidden_states=torch.zeros(2, 1, 12)).sample
        got = network(x_t, log_snrs[[500, 500]])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3)


def test_what_it_did_not_know_it_takes_no_notice_of_at_first(folder: Path) -> None:
    plain, network = from_diffusers(folder, 16)
    told, wider = from_diffusers(folder, 16, cond_images_channels=2)
    both, widest = widen(told, wider, 1)
    noise = torch.Generator().manual_seed(0)
    x_t, images = torch.randn(1, 4, 8, 8, generator=noise), torch.rand(1, 3, 16, 16, generator=noise)
    t = torch.tensor([0.4])
    wanted = Denoiser(network, plain)(x_t, t)
    torch.testing.assert_close(Denoiser(wider, told, Conditions(images[:, :2]))(x_t, t), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(Denoiser(widest, both, Conditions(images))(x_t, t), wanted, rtol=0, atol=1e-5)


def test_it_is_trained_kept_loaded_distilled_and_sampled_as_any_stage(
    folder: Path, runs: Any, generators: Generators, tmp_path: Path
) -> None:
    stage, network = from_diffusers(folder, 16, cond_images_channels=1, sampling=FEW)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    training = runs.settings(steps=4, sample_every=4)
    runs.train(stage, tmp_path / "run", training, examples=Colours(), initial=network, validation=Colours())
    trained, steps = load_trained(tmp_path / "run" / "state.pt", stage)
    after = trained.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert steps == 4
    assert "unet.conv_in.weight" in moved
    assert not any(name.startswith("autoencoder.") for name in moved)
    assert (tmp_path / "run" / "samples" / "0000004.png").exists()

    Cascade(CascadeConfig((stage,)), [trained]).save(tmp_path / "model")
    cascade = Cascade.load(tmp_path / "model")
    assert cascade.config.stages == (stage,)
    context = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    images = [
        each.sample(generators(0, 1), cond_images=context)[0]
        for each in (Cascade(CascadeConfig((stage,)), [trained]), cascade)
    ]
    assert images[0].shape == (2, 3, 16, 16)
    torch.testing.assert_close(*images)

    events = list(distill_stage(trained, stage, training, Colours(), tmp_path / "students", steps=(1,), device="cpu"))
    assert len(events) == 4
    student = student_of(stage, 1)
    assert student.sampling == SamplingConfig(1, "ddim", threshold="none")
    load_trained(tmp_path / "students" / "1-steps" / "state.pt", student)


def test_known_pixels_hold_the_latents_that_are_all_theirs(folder: Path, generators: Generators) -> None:
    stage, network = from_diffusers(folder, 16, sampling=FEW)
    known = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :9] = 1  # the fifth column of latents is half known: it is not held
    seen: list[Tensor] = []

    class Watched(LatentUnet):
        def forward(self, x_t: Tensor, log_snr: Tensor, **conditions: Any) -> Tensor:
            seen.append(x_t)
            return super().forward(x_t, log_snr, **conditions)

    network.__class__ = Watched
    drawn = [
        sample_stage(network, stage, generators=generators(0), known=each, known_mask=mask)
        for each in (known, known / 2)
    ]
    differs = (seen[0] - seen[len(seen) // 2]).abs().amax(dim=(0, 1, 2)) > 1e-4
    assert differs.tolist() == [True] * 4 + [False] * 4
    assert drawn[0].shape == (1, 3, 16, 16)


def test_a_latent_stage_is_told_guidance_and_an_embedding(folder: Path) -> None:
    stage, _ = from_diffusers(folder, 16, text_embed_dim=3, sampling=replace(FEW, guidance=2.0))
    stage = student_of(stage, 2, guidance=(1.0, 3.0))
    network = LatentUnet(stage.unet, 1)  # type: ignore[arg-type]
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    x_t, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((2,), 0.4)
    given = Conditions(embedding=torch.ones(2, 3), embedding_given=torch.tensor([True, False]))
    drawn = [Denoiser(network, stage, given, torch.full((2,), weight))(x_t, t) for weight in (1.0, 3.0)]
    assert not torch.allclose(*drawn)
    other = Denoiser(network, stage, replace(given, embedding=torch.zeros(2, 3)), torch.full((2,), 1.0))(x_t, t)
    assert not torch.allclose(other[0], drawn[0][0])
    torch.testing.assert_close(other[1], drawn[0][1])


def _without(part: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / part)


def _saying(file: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            _without("vae"),
            CheckpointError,
            "not a latent diffusion model in diffusers' form: it has no vae/config.json",
        ),
        (_without("scheduler"), CheckpointError, "it has no scheduler/scheduler_config.json"),
        (lambda folder: shutil.rmtree(folder) or folder.mkdir(), CheckpointError, "no unet/config.json, no vae/conf"),
        (
            _saying("unet/config.json", _class_name="FluxTransformer2DModel"),
            CheckpointError,
            "a FluxTransformer2DModel; ",
        ),
        (
            _saying("vae/config.json", _class_name="VQModel"),
            CheckpointError,
            "a VQModel; a latent stage is made of a Au",
        ),
        (
            lambda folder: (folder / "vae/config.json").write_text("{"),
            CheckpointError,
            "vae/config.json: cannot be read",
        ),
        (
            lambda folder: (folder / "unet/diffusion_pytorch_model.safetensors").unlink(),
            CheckpointError,
            "unet: its weights cannot be read",
        ),
        (
            _saying("scheduler/scheduler_config.json", prediction_type="flow_prediction"),
            CheckpointError,
            "flow_prediction",
        ),
    ],
)
def test_a_folder_of_the_wrong_kind_says_what_is_missing(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    spoilt = tmp_path / "model"
    shutil.copytree(folder, spoilt)
    spoil(spoilt)
    with pytest.raises(error, match=message) as told:
        from_diffusers(spoilt, 16)
    assert "\n" not in str(told.value)


def test_sizes_that_do_not_fit(folder: Path, runs: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="image_px 15 is no multiple of the autoencoder's factor 2"):
        from_diffusers(folder, 15)
    stage, network = from_diffusers(folder, 16)
    with pytest.raises(ConfigError, match="crop_px 9 is no multiple"):
        runs.train(stage, tmp_path, runs.settings(crop_px=9), examples=Colours(), initial=network)
    with pytest.raises(ValueError, match="latents have no range"):
        replace(stage, sampling=SamplingConfig(3))
    with pytest.raises(ValueError, match="enlarges no image"):
        StageConfig(16, stage.unet, lowres_px=8, sampling=FEW)


def test_without_diffusers_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install 'cdm-core\[latent\]'"):
        from_diffusers(folder, 16)
