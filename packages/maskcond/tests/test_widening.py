from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cdm_core import Cascade, Conditions, StageConfig
from cdm_core.stages.denoiser import predict
from maskcond import KIDNEY, KUMAR, KUMAR_CONDITIONS, MaskCascade, add_embedding, widen_for_masks

Make = Callable[..., Cascade]
WIDTH = KUMAR_CONDITIONS.width


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def masks(seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(2, size=(2, 32, 32)).astype(np.uint8))


def outputs(config: StageConfig, unet: nn.Module, cond_images: Tensor | None, embedding: Tensor | None) -> Tensor:
    noise = torch.Generator().manual_seed(5)
    side, given = config.image_px, torch.full((2,), embedding is not None)
    lowres = torch.rand(2, 3, side, side, generator=noise) if config.lowres_px else None
    width = config.unet.text_embed_dim
    conditions = Conditions(
        cond_images,
        lowres=lowres,
        lowres_log_snr=None if lowres is None else torch.full((2,), 1.5),
        embedding=torch.zeros(2, width) if width and embedding is None else embedding,
        embedding_given=given if width else None,
    )
    return predict(unet, torch.randn(2, 3, side, side, generator=noise), torch.tensor([-1.0, 2.0]), conditions)


def stages(cascade: Cascade) -> Iterator[tuple[StageConfig, nn.Module]]:
    return zip(cascade.config.stages, cascade.unets, strict=True)


@pytest.fixture
def precise() -> Iterator[None]:
    """Double precision: what a wider convolution adds up in another order is rounded otherwise, on every processor."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("embedded", [False, True])
def test_widened_networks_do_what_they_did_whatever_the_mask(tiny_cascade: Make, embedded: bool) -> None:
    cascade = tiny_cascade(text_embed_dim=WIDTH if embedded else None)
    model = widen_for_masks(cascade, KIDNEY, KUMAR_CONDITIONS if embedded else None)
    embedding = torch.eye(2, WIDTH) if embedded else None
    for (old, unet), (new, widened) in zip(stages(cascade), stages(model.cascade), strict=True):
        assert new.unet.cond_images_channels == 5  # four classes, and whether there is a mask
        wanted = outputs(old, unet, None, embedding)
        assert wanted.std() > 0.01
        for scale in (0, 1, 100):
            cond_images = scale * torch.rand(2, 5, new.image_px, new.image_px)
            torch.testing.assert_close(outputs(new, widened, cond_images, embedding), wanted, atol=1e-6, rtol=1e-6)


def test_images_of_a_widened_cascade_are_those_of_the_unconditional_one(tiny_cascade: Make) -> None:
    cascade = tiny_cascade()
    model = widen_for_masks(cascade, KUMAR)
    wanted = cascade.sample(generators(1, 2))[-1]
    for labels in (masks(), [None, None]):
        torch.testing.assert_close(model.sample(labels, generators(1, 2)), wanted, atol=1e-5, rtol=0)
    assert model.provenance == cascade.provenance


def test_new_weights_learn(tiny_cascade: Make) -> None:
    model = widen_for_masks(tiny_cascade(), KUMAR, KUMAR_CONDITIONS)
    for config, unet in stages(model.cascade):
        unet.requires_grad_(True)
        cond_images = torch.rand(2, 2, config.image_px, config.image_px)
        outputs(config, unet, cond_images, torch.eye(2, WIDTH)).square().mean().backward()
        with torch.no_grad():
            for parameter in unet.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        unet.requires_grad_(False)
        changed = [
            outputs(config, unet, 1 - cond_images, torch.eye(2, WIDTH)),
            outputs(config, unet, cond_images, torch.eye(2, WIDTH).flip(0)),
            outputs(config, unet, cond_images, None),
        ]
        for other in changed:
            assert (other - outputs(config, unet, cond_images, torch.eye(2, WIDTH))).abs().max() > 1e-5


@pytest.mark.usefixtures("precise")
def test_an_embedding_where_there_was_none_changes_what_attention_sees_and_nothing_else(tiny_cascade: Make) -> None:
    embedding = torch.eye(2, WIDTH)
    for config, unet in stages(tiny_cascade(layer_attns=True)):
        before = outputs(config, unet, None, None)
        wider, added = add_embedding(config, unet, WIDTH)
        assert (outputs(wider, added, None, embedding) - before).abs().max() > 1e-4
        assert not any(parameter.requires_grad for parameter in added.parameters())
        assert added.training is unet.training
        for name, parameter in unet.named_parameters():
            if ".to_out." in name:
                parameter.zero_()
        without_attention = outputs(config, unet, None, None)
        wider, added = add_embedding(config, unet, WIDTH)
        for given in (embedding, None):
            torch.testing.assert_close(outputs(wider, added, None, given), without_attention, atol=1e-6, rtol=1e-6)


def test_what_cannot_be_widened_is_refused(tiny_cascade: Make) -> None:
    cascade = tiny_cascade(text_embed_dim=5)
    with pytest.raises(ValueError, match=r"the stage of 8 px has text_embed_dim = 5; the conditions need 18"):
        widen_for_masks(cascade, KUMAR, KUMAR_CONDITIONS)
    with pytest.raises(ValueError, match="has an embedding already"):
        add_embedding(cascade.config.stages[0], cascade.unets[0], 5)
    with pytest.raises(ValueError, match="the stage of 8 px is conditioned on images already"):
        widen_for_masks(widen_for_masks(tiny_cascade(), KUMAR).cascade, KUMAR)
    with pytest.raises(ValueError, match=r"takes 2 channels of images; masks have 5"):
        MaskCascade(KIDNEY, widen_for_masks(tiny_cascade(), KUMAR).cascade)
    plain = tiny_cascade()
    with pytest.raises(ValueError, match="the network is not the one of the stage of 8 px"):
        add_embedding(plain.config.stages[0], tiny_cascade(dim=16).unets[0], 5)
