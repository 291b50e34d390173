"""The faster blocks against the library's own, from the same weights."""

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Conditions, StageConfig
from cdm_core.networks.fused import fuse, shuffle_channels_last
from cdm_core.networks.imagen_offline import imagen_module

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Noise = Callable[..., Tensor]

ATTENTION = {
    "dim_mults": (1, 2),
    "layer_attns": (False, True),
    "layer_cross_attns": (False, True),
    "attend_at_middle": True,
}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"dim_mults": (1, 2)}, {}),
    "attention": ({**ATTENTION, "init_cross_embed": True}, {}),
    "memory-efficient": (
        {**ATTENTION, "memory_efficient": True, "init_conv_to_final_conv_residual": True, "cond_images_channels": 4},
        {"image_px": 16, "lowres_px": 8},
    ),
    "embedding": ({**ATTENTION, "text_embed_dim": 6}, {}),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


@contextlib.contextmanager
def in_mixed_precision() -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        yield


def the_librarys(unet: nn.Module) -> nn.Module:
    """The same network, made by the library alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        own: nn.Module = type(unet)(**unet._locals)
    own.load_state_dict(unet.state_dict())
    return own.eval().requires_grad_(False)


def inputs(config: StageConfig, noise: Noise) -> dict[str, Any]:
    """Three noisy images with whatever the network is conditioned on."""
    side, unet = config.image_px, config.unet
    images = noise(3, 6 + unet.cond_images_channels, side, side)
    log_snr = torch.tensor([-3.0, 0.5, 4.0])
    conditions = Conditions(
        cond_images=images[:, 6:] if unet.cond_images_channels else None,
        lowres=images[:, 3:6] if config.lowres_px else None,
        lowres_log_snr=log_snr.flip(0) if config.lowres_px else None,
        embedding=noise(3, unet.text_embed_dim) if unet.text_embed_dim else None,
        embedding_given=torch.tensor([True, False, True]) if unet.text_embed_dim else None,
    )
    return {"x": images[:, :3], "time": log_snr, **conditions.of_network(images)}


@pytest.fixture
def network(request: pytest.FixtureRequest, tiny_stage: Stage, random_unet: Unet, noise: Noise) -> Any:
    """A network, the library's twin of it, and inputs."""
    unet, stage = NETWORKS[request.getfixturevalue("name")]
    config = tiny_stage(unet, **stage)
    fast = random_unet(config)
    return fast, the_librarys(fast), inputs(config, noise)


@each_network
def test_images_are_the_librarys(network: Any, name: str) -> None:
    fast, library, given = network
    with torch.no_grad():
        wanted, found = library(**given), fast(**given)
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@each_network
def test_gradients_are_the_librarys(network: Any, name: str) -> None:
    def gradients(unet: nn.Module) -> dict[str, Tensor]:
        unet.requires_grad_(True)
        x = given["x"].clone().requires_grad_()
        unet(**{**given, "x": x}).square().sum().backward()
        parameters = {name: p.grad for name, p in unet.named_parameters() if p.grad is not None}
        return {"x": x.grad, **parameters}

    fast, library, given = network
    # in double precision: gradients of 0 are rounding, which differs from processor to processor
    given = {key: value.double() if value.is_floating_point() else value for key, value in given.items()}
    wanted, found = gradients(library.double()), gradients(fast.double())
    assert found.keys() == wanted.keys()
    for key, gradient in wanted.items():  # some are 0 but for rounding: biases before a softmax or a norm
        assert (found[key] - gradient).norm() < 1e-4 * gradient.norm() + 1e-5, key


@each_network
def test_sampling_and_training_see_the_same_network(network: Any, name: str) -> None:
    fast, _, given = network
    with torch.no_grad():
        in_place = fast(**given)
    torch.testing.assert_close(fast(**given), in_place, atol=1e-5, rtol=1e-5)  # gradients could be asked for


@each_network
def test_inputs_are_left_as_they_are(network: Any, name: str) -> None:
    fast, _, given = network
    before = {key: value.clone() for key, value in given.items()}
    with torch.no_grad():
        fast(**given)
    for key, value in before.items():
        assert torch.equal(given[key], value)


@each_network
def test_weights_fit_the_librarys_network(network: Any, name: str) -> None:
    fast, library, _ = network
    assert list(fast.state_dict()) == list(library.state_dict())
    own = {type(module) for module in library.modules()}
    swapped = {type(module) for module in fast.modules()} - own
    assert len(swapped) >= (3 if name == "plain" else 5)
    assert type(fast) in own


@each_network
def test_mixed_precision_is_as_near_as_the_librarys(network: Any, name: str) -> None:
    fast, library, given = network
    with torch.no_grad():
        exact = library(**given)
        with in_mixed_precision():
            wanted, found = library(**given).float(), fast(**given).float()
    error, allowed = (found - exact).square().mean().sqrt(), (wanted - exact).square().mean().sqrt()
    assert 0 < error < 1.5 * allowed


def test_copies_and_compiled_networks_give_the_same(tiny_stage: Stage, random_unet: Unet, noise: Noise) -> None:
    unet = {"dim_mults": (1,), "layer_attns": True, "layer_cross_attns": True, "text_embed_dim": 6}
    config = tiny_stage(unet)
    fast, given = random_unet(config), inputs(config, noise)
    with torch.no_grad():
        wanted = fast(**given)
        assert torch.equal(copy.deepcopy(fast)(**given), wanted)
        torch.compiler.reset()
        fast.compile(backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(fast(**given), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pixels_are_shuffled_as_by_torch(noise: Noise, layout: torch.memory_format) -> None:
    x = noise(2, 12, 3, 5).contiguous(memory_format=layout)
    shuffled = shuffle_channels_last(x, 2)
    assert torch.equal(shuffled, nn.functional.pixel_shuffle(x, 2))
    assert shuffled.is_contiguous(memory_format=torch.channels_last)


def test_fusing_again_changes_nothing(tiny_stage: Stage, random_unet: Unet) -> None:
    unet = random_unet(tiny_stage(ATTENTION))
    before = [type(module) for module in unet.modules()]
    assert [type(module) for module in fuse(unet).modules()] == before


def test_masks_and_biases_are_left_to_the_library(noise: Noise) -> None:
    library = imagen_module()
    attention = library.Attention(8, heads=2, dim_head=4)
    across = library.CrossAttention(8, context_dim=6, heads=2, dim_head=4)
    x, context, bias = noise(2, 5, 8), noise(2, 3, 6), noise(2, 2, 5, 6)
    mask, context_mask = noise(2, 5) > 0, torch.tensor([[True, False, True]]).expand(2, 3)
    with torch.no_grad():
        wanted = attention(x, mask=mask, attn_bias=bias), across(x, context, mask=context_mask)
        fuse(nn.ModuleList([attention, across]))
        found = attention(x, mask=mask, attn_bias=bias), across(x, context, mask=context_mask)
        for one, other, unmasked in zip(found, wanted, (attention(x), across(x, context)), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
            assert not torch.allclose(one, unmasked, atol=1e-3)


def test_layer_norms_over_channels_are_left_to_the_library(noise: Noise) -> None:
    x = noise(2, 8, 4, 4)
    for norm in (imagen_module().ChanLayerNorm(8), imagen_module().LayerNorm(4, stable=True)):
        with torch.no_grad():
            wanted = norm(x)
            assert torch.equal(fuse(nn.Sequential(norm))(x), wanted)
