from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Cascade, Conditions, StageConfig, widen, widen_cascade
from cdm_core.stages.denoiser import predict
from cdm_core.stages.widen import with_final_residual

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Noise = Callable[..., Tensor]

FIRST = {"plain": {"init_cross_embed": False}, "crossed": {"init_cross_embed": True}}
UPPER = {"base": {}, "upper": {"image_px": 16, "lowres_px": 8}}


def conditions(config: StageConfig, cond_images: Tensor | None) -> Conditions:
    """What the stage takes, always the same, with the images to condition on as given."""
    if config.lowres_px is None:
        return Conditions(cond_images)
    generator = torch.Generator().manual_seed(2)
    lowres = torch.rand(2, 3, config.image_px, config.image_px, generator=generator) * 2 - 1
    return Conditions(cond_images, lowres=lowres, lowres_log_snr=torch.full((2,), 1.5))


def output(config: StageConfig, unet: nn.Module, noise: Noise, cond_images: Tensor | None) -> Tensor:
    x_t = noise(2, 3, config.image_px, config.image_px)
    return predict(unet, x_t, torch.tensor([-1.0, 2.0]), conditions(config, cond_images))


@pytest.fixture(params=list(product(FIRST, UPPER, (0, 2))), ids=lambda parts: "-".join(map(str, parts)))
def config(request: pytest.FixtureRequest, tiny_stage: Stage) -> StageConfig:
    """Every kind of first convolution: one or several kernels, with and without conditions."""
    first, upper, had = request.param
    return tiny_stage({**FIRST[first], "cond_images_channels": had}, **UPPER[upper])


def images(config: StageConfig, channels: int, seed: int = 0) -> Tensor | None:
    shape = (2, channels, config.image_px, config.image_px)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) if channels else None


@pytest.fixture
def precise() -> Iterator[None]:
    """Double precision: what a wider convolution adds up in another order is rounded otherwise, on every processor."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("precise")
def test_a_widened_network_does_what_it_did(config: StageConfig, random_unet: Unet, noise: Noise) -> None:
    unet, had = random_unet(config), config.unet.cond_images_channels
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    wider, widened = widen(config, unet, 3)
    assert wider.unet.cond_images_channels == had + 3
    old = images(config, had)
    wanted = output(config, unet, noise, old)
    assert wanted.std() > 0.01
    for scale in (0, 1, 100):
        added = images(config, 3, seed=1)
        assert added is not None
        both = scale * added if old is None else torch.cat((old, scale * added), dim=1)
        torch.testing.assert_close(output(wider, widened, noise, both), wanted, atol=1e-6, rtol=1e-6)
    if old is not None:  # what it was conditioned on still matters, in its place
        flipped = torch.cat((old.flip(1), both[:, had:]), dim=1)
        torch.testing.assert_close(
            output(wider, widened, noise, flipped), output(config, unet, noise, old.flip(1)), atol=1e-6, rtol=1e-6
        )
        assert (output(wider, widened, noise, flipped) - wanted).abs().max() > 1e-3
    torch.testing.assert_close(unet.state_dict(), before, rtol=0, atol=0)


def test_new_channels_learn(config: StageConfig, random_unet: Unet, noise: Noise) -> None:
    had = config.unet.cond_images_channels
    wider, widened = widen(config, random_unet(config).requires_grad_(True), 3)
    given = images(wider, had + 3)
    optimiser = torch.optim.SGD(widened.parameters(), lr=0.1)
    output(wider, widened, noise, given).square().mean().backward()
    for name, parameter in widened.named_parameters():
        if name.startswith("init_conv.") and name.endswith("weight"):
            assert parameter.grad is not None
            assert parameter.grad[:, had : had + 3].abs().amax(dim=(0, 2, 3)).min() > 0
    optimiser.step()
    assert given is not None
    other = torch.cat((given[:, :had], -given[:, had:]), dim=1)
    assert (output(wider, widened, noise, given) - output(wider, widened, noise, other)).abs().max() > 1e-4


@pytest.mark.parametrize("training", [True, False])
def test_precision_mode_and_gradients_are_kept(tiny_stage: Stage, random_unet: Unet, training: bool) -> None:
    config = tiny_stage({"cond_images_channels": 1})
    unet = random_unet(config).to(torch.bfloat16).train(training).requires_grad_(training)
    generator_state = torch.random.get_rng_state()
    _, widened = widen(config, unet, 1)
    assert torch.equal(torch.random.get_rng_state(), generator_state)  # nothing was drawn
    assert {parameter.dtype for parameter in widened.parameters()} == {torch.bfloat16}
    assert {parameter.requires_grad for parameter in widened.parameters()} == {training}
    assert {parameter.device.type for parameter in widened.parameters()} == {"cpu"}
    assert widened.training is training
    shared = {value.data_ptr() for value in unet.state_dict().values()}
    assert shared.isdisjoint(value.data_ptr() for value in widened.state_dict().values())


def test_widening_twice_is_widening_at_once(tiny_stage: Stage, random_unet: Unet) -> None:
    config = tiny_stage({"cond_images_channels": 1})
    unet = random_unet(config)
    (twice, again), (once, widened) = widen(*widen(config, unet, 1), 2), widen(config, unet, 3)
    assert twice == once
    torch.testing.assert_close(again.state_dict(), widened.state_dict(), rtol=0, atol=0)


def test_a_widened_cascade_is_saved_and_loaded(cascade: Cascade, generators: Any, tmp_path: Path) -> None:
    widened = widen_cascade(cascade, 1)
    assert widened.provenance == cascade.provenance
    assert [stage.unet.cond_images_channels for stage in cascade.config.stages] == [0, 0]
    widened.save(tmp_path)
    loaded = Cascade.load(tmp_path)
    assert loaded.config == widened.config
    mask = torch.ones(1, 1, 16, 16)
    found = loaded.sample(generators(0), cond_images=mask)
    torch.testing.assert_close(found, cascade.sample(generators(0)), atol=1e-5, rtol=0)
    torch.testing.assert_close(found, widened.sample(generators(0), cond_images=mask), atol=0, rtol=0)


@pytest.mark.parametrize("channels", [0, -1])
def test_there_is_a_channel_to_add(cascade: Cascade, channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels to add are at least 1, got {channels}"):
        widen(cascade.config.stages[0], cascade.unets[0], channels)
    with pytest.raises(ValueError, match=f"channels to add are at least 1, got {channels}"):
        widen_cascade(cascade, channels)


def test_a_network_of_another_stage_is_refused(cascade: Cascade, tiny_stage: Stage, random_unet: Unet) -> None:
    with pytest.raises(ValueError, match="the network is not the one of the stage of 16 px"):
        widen(cascade.config.stages[1], cascade.unets[0], 1)
    other = random_unet(tiny_stage({"dim": 16}))
    with pytest.raises(ValueError, match="the network is not the one of the stage of 8 px"):
        widen(cascade.config.stages[0], other, 1)


def test_a_network_with_the_final_residual_does_nearly_what_it_did_and_learns(
    tiny_stage: Stage, random_unet: Unet, noise: Noise
) -> None:
    config = tiny_stage({"memory_efficient": True}, image_px=16, lowres_px=8)
    unet = random_unet(config)
    wider, grown = with_final_residual(config, unet)
    assert wider.unet.init_conv_to_final_conv_residual
    before, after = (output(stage, network, noise, None) for stage, network in ((config, unet), (wider, grown)))
    assert (after - before).abs().mean() < 0.2 * before.abs().mean()
    output(wider, grown, noise, None).square().mean().backward()
    weight = dict(grown.named_parameters())["final_res_block.block1.project.weight"]
    assert weight.grad is not None
    assert weight.grad[:, config.unet.dim :].abs().max() > 0
    assert with_final_residual(wider, grown) == (wider, grown)


def test_a_final_residual_is_of_the_stage_of_the_network(tiny_stage: Stage, random_unet: Unet) -> None:
    with pytest.raises(ValueError, match="not the one of the stage"):
        with_final_residual(tiny_stage(), random_unet(tiny_stage({"dim": 16})))
