"""Sampling against the library that the networks come from, with the same weights and the same draws.

Both families of imagen-pytorch may be installed; what the older one cannot do is skipped with its reason.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, sample_stage
from cdm_core import cascade as cascade_module
from cdm_core.diffusion.objective import Objective
from cdm_core.diffusion.sampler import draw_noise
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.networks.imagen_offline import imagen_module

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
Noise = Callable[..., Tensor]

ATTENTION = {
    "dim_mults": (1, 2),
    "layer_attns": (False, True),
    "layer_cross_attns": (False, True),
    "attend_at_middle": True,
}
SEED = 5


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Networks with random weights blow rounding up, to 1e-2 and more in float32."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def peer(configs: list[StageConfig], unets: list[nn.Module], **options: Any) -> nn.Module:
    """The same stages as an `imagen_pytorch.Imagen`."""
    imagen_class = imagen_module().Imagen
    width = configs[0].unet.text_embed_dim
    resize = {config.lowres_resize for config in configs if config.lowres_px is not None} - {"nearest"}
    if resize and "resize_mode" not in inspect.signature(imagen_class).parameters:
        pytest.skip("this imagen-pytorch enlarges by the nearest pixel only")
    imagen: nn.Module = imagen_class(
        unets,
        image_sizes=[config.image_px for config in configs],
        timesteps=[config.sampling.steps for config in configs],
        noise_schedules=[config.schedule for config in configs],
        pred_objectives=[{"x0": "x_start"}.get(config.objective, config.objective) for config in configs],
        condition_on_text=width is not None,
        text_embed_dim=width or 8,
        dynamic_thresholding=[config.sampling.threshold == "dynamic" for config in configs],
        dynamic_thresholding_percentile=configs[-1].sampling.threshold_quantile,
        lowres_noise_schedule=configs[-1].lowres_schedule,
        lowres_sample_noise_level=configs[-1].sampling.lowres_noise,
        **({"resize_mode": resize.pop()} if resize else {}),
        **options,
    )
    for own, unet in zip(imagen.unets, unets, strict=True):
        own.load_state_dict(unet.state_dict())  # it builds its U-Nets afresh
    return imagen


def sample_of_peer(imagen: nn.Module, **conditions: Any) -> Any:
    """Samples one image, with the draws that a generator with `SEED` makes."""
    # the later family takes the part of the guidance that is parallel to the prediction away, unless told not to
    if "cfg_remove_parallel_component" in inspect.signature(type(imagen).p_sample_loop).parameters:
        conditions["cfg_remove_parallel_component"] = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return imagen.sample(use_tqdm=False, **conditions)


def assert_agrees(found: Tensor, wanted: Tensor) -> None:
    assert wanted.std() > 0.05
    # even in double precision the library takes the noise level of the low-resolution input in float32
    torch.testing.assert_close(found, wanted, atol={torch.float32: 1e-4, torch.float64: 1e-6}[wanted.dtype], rtol=0)


def assert_differs(one: Tensor, other: Tensor) -> None:
    """So that what is under test was not ignored by both libraries."""
    assert (one - other).abs().mean() > 1e-3


@pytest.mark.parametrize("objective", get_args(Objective))
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ddpm_agrees(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, schedule: ScheduleName, objective: Objective
) -> None:
    config = tiny_stage(ATTENTION, schedule=schedule, objective=objective, sampling=SamplingConfig(6, "ddpm"))
    unet = random_unet(config)
    wanted = sample_of_peer(peer([config], [unet]))
    assert_agrees(sample_stage(unet, config, generators=generators(SEED)), wanted)


@pytest.mark.parametrize("resize", ["nearest", "bilinear"])
@pytest.mark.parametrize("lowres_schedule", ["cosine", "linear"])
def test_super_resolution_agrees(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, lowres_schedule: ScheduleName, resize: str
) -> None:
    upper, resized_otherwise = (
        tiny_stage(
            image_px=16,
            lowres_px=8,
            lowres_schedule=lowres_schedule,
            lowres_resize=each,
            sampling=SamplingConfig(6, "ddpm", lowres_noise=0.3),
        )
        for each in (resize, {"nearest": "bilinear", "bilinear": "nearest"}[resize])
    )
    unets = [random_unet(tiny_stage()), random_unet(upper)]
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def run(config: StageConfig, lowres: Tensor) -> Tensor:
        return sample_stage(unets[1], config, generators=generators(SEED), lowres=lowres)

    wanted = sample_of_peer(peer([tiny_stage(), upper], unets), start_at_unet_number=2, start_image_or_video=small)
    found = run(upper, small)
    assert_agrees(found, wanted)
    assert_differs(found, run(upper, 1 - small))
    assert_differs(found, run(resized_otherwise, small))


def test_a_context_is_taken_alike(tiny_stage: Stage, random_unet: Unet, generators: Generators, noise: Noise) -> None:
    config = tiny_stage({**ATTENTION, "cond_images_channels": 4}, sampling=SamplingConfig(6, "ddpm"))
    unet, context = random_unet(config), noise(1, 4, 8, 8).sigmoid()
    wanted = sample_of_peer(peer([config], [unet]), cond_images=context)
    found, other = (
        sample_stage(unet, config, generators=generators(SEED), cond_images=images) for images in (context, 1 - context)
    )
    assert_agrees(found, wanted)
    assert_differs(found, other)


@pytest.mark.parametrize("objective", get_args(Objective))
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_guidance_towards_an_embedding_agrees(
    tiny_stage: Stage,
    random_unet: Unet,
    generators: Generators,
    noise: Noise,
    objective: Objective,
    guidance: float,
) -> None:
    def stage(guidance: float) -> StageConfig:
        sampling = SamplingConfig(6, "ddpm", guidance=guidance)
        return tiny_stage({**ATTENTION, "text_embed_dim": 8}, objective=objective, sampling=sampling)

    unet, embedding = random_unet(stage(guidance)), 3 * noise(1, 8)

    def run(guidance: float, embedding: Tensor | None) -> Tensor:
        return sample_stage(unet, stage(guidance), generators=generators(SEED), embedding=embedding)

    imagen = peer([stage(guidance)], [unet])
    found = run(guidance, embedding)
    assert_agrees(found, sample_of_peer(imagen, text_embeds=embedding[:, None], cond_scale=guidance))
    assert_differs(found, run(4 - guidance, embedding))
    assert_differs(found, run(guidance, None))


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_dynamic_thresholding_agrees(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, quantile: float
) -> None:
    sampling = SamplingConfig(6, "ddpm", threshold="dynamic", threshold_quantile=quantile)
    dynamic, static = (
        tiny_stage(ATTENTION, objective="noise", sampling=each) for each in (sampling, SamplingConfig(6, "ddpm"))
    )
    unet = random_unet(dynamic)
    found, other = (sample_stage(unet, config, generators=generators(SEED)) for config in (dynamic, static))
    assert_agrees(found, sample_of_peer(peer([dynamic], [unet])))
    assert_differs(found, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cascade_with_everything_agrees(
    tiny_stage: Stage,
    random_unet: Unet,
    generators: Generators,
    noise: Noise,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
) -> None:
    torch.set_default_dtype(dtype)
    unet = {**ATTENTION, "cond_images_channels": 2, "text_embed_dim": 8}
    options = {"lowres_noise": 0.25, "threshold": "dynamic", "threshold_quantile": 0.9}
    stages = [
        tiny_stage(unet, objective="noise", sampling=SamplingConfig(7, "ddpm", **options)),
        tiny_stage(
            {**unet, "memory_efficient": True, "init_conv_to_final_conv_residual": True},
            image_px=16,
            lowres_px=8,
            schedule="linear",
            lowres_schedule="linear",
            lowres_resize="nearest",
            sampling=SamplingConfig(5, "ddpm", **options),
        ),
    ]
    unets = [random_unet(stage, seed=i) for i, stage in enumerate(stages)]
    # of one colour: to the first stage's size the library takes every other pixel, this one an antialiased mean
    context = torch.tensor([0.9, 0.2]).reshape(1, 2, 1, 1).expand(1, 2, 16, 16)
    embedding = 3 * noise(1, 8)
    wanted = sample_of_peer(
        peer(stages, unets),
        cond_images=context,
        text_embeds=embedding[:, None],
        cond_scale=3.0,
        return_all_unet_outputs=True,
    )

    def sample_stage_and_draw(unet: nn.Module, config: StageConfig, **arguments: Any) -> Tensor:
        images = sample_stage(unet, config, **arguments)
        # the library draws noise for the last step too, and gives it the weight 0
        draw_noise(images.shape[1:], arguments["generators"], images.device)
        return images

    monkeypatch.setattr(cascade_module, "sample_stage", sample_stage_and_draw)
    cascade = Cascade(CascadeConfig(tuple(stages)), unets)
    given = {"cond_images": context, "embedding": embedding}
    images = cascade.sample(generators(SEED), guidance=3.0, **given)
    for found, one in zip(images, wanted, strict=True):
        assert_agrees(found, one)
    for changed in ({"guidance": 1.0}, {"embedding": None}, {"cond_images": 1 - context}):
        others = cascade.sample(generators(SEED), **{"guidance": 3.0, **given, **changed})
        for found, other in zip(images, others, strict=True):
            assert_differs(found, other)
