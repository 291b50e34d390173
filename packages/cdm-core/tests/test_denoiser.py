"""What a denoiser makes of a network's prediction: guidance, embeddings that are given or not, thresholds."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Conditions, Denoiser, SamplingConfig, StageConfig, sample_stage
from cdm_core.stages.denoiser import dynamic_threshold, predict

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
Noise = Callable[..., Tensor]

EMBEDDED = {
    "text_embed_dim": 4,
    "dim_mults": (1, 2),
    "layer_attns": (False, True),
    "layer_cross_attns": (False, True),
    "attend_at_middle": True,
}


class Linear(nn.Module):
    """A network that is known: 0.1 x_t, and the sum of the embedding on images that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def forward(self, x_t: Tensor, log_snr: Tensor, **conditions: Any) -> Tensor:
        self.calls.append(conditions)
        given = 1 - conditions["cond_drop_prob"]
        return 0.1 * x_t + (given * conditions["text_embeds"].sum(dim=(1, 2))).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("guidance", [0.0, 0.3, 1.0, 3.0])
def test_guidance_moves_the_prediction_along_what_the_embedding_changes(
    tiny_stage: Stage, noise: Noise, guidance: float
) -> None:
    config = tiny_stage(EMBEDDED, objective="x0", sampling=SamplingConfig(guidance=guidance))
    x_t, embedding, unet = noise(2, 3, 8, 8), torch.tensor([[0.0, 0.1, 0.0, -0.05], [0.2, 0.0, 0.0, 0.0]]), Linear()
    conditions = Conditions(embedding=embedding, embedding_given=torch.tensor([True, True]))
    without, with_it = 0.1 * x_t, 0.1 * x_t + embedding.sum(dim=1).reshape(-1, 1, 1, 1)
    found = Denoiser(unet, config, conditions)(x_t, torch.full((2,), 0.5))
    torch.testing.assert_close(found, (without + guidance * (with_it - without)).clamp(-1, 1))
    assert len(unet.calls) == (1 if guidance == 1 else 2)


def test_without_an_embedding_guidance_changes_nothing(tiny_stage: Stage, noise: Noise) -> None:
    config = tiny_stage(EMBEDDED, objective="x0", sampling=SamplingConfig(guidance=3.0))
    x_t, given = noise(2, 3, 8, 8), torch.tensor([False, True])
    conditions = Conditions(embedding=torch.full((2, 4), 0.1), embedding_given=given)
    found = Denoiser(Linear(), config, conditions)(x_t, torch.full((2,), 0.5))
    torch.testing.assert_close(found[0], 0.1 * x_t[0])
    torch.testing.assert_close(found[1], (0.1 * x_t[1] + 3 * 0.4).clamp(-1, 1))


def test_both_predictions_see_the_same_images_and_context(tiny_stage: Stage, noise: Noise) -> None:
    config = tiny_stage(EMBEDDED, objective="x0", sampling=SamplingConfig(guidance=3.0))
    conditions = Conditions(
        cond_images=noise(1, 3, 8, 8),
        lowres=noise(1, 3, 8, 8),
        lowres_log_snr=torch.ones(1),
        embedding=torch.ones(1, 4),
        embedding_given=torch.tensor([True]),
    )
    unet = Linear()
    Denoiser(unet, config, conditions)(noise(1, 3, 8, 8), torch.full((1,), 0.5))
    first, second = unet.calls
    assert [first.pop("cond_drop_prob"), second.pop("cond_drop_prob")] == [0, 1]
    assert first.keys() == {"cond_images", "lowres_cond_img", "lowres_noise_times", "text_embeds", "text_mask"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_without_embedding_is_told_of_none(tiny_stage: Stage, random_unet: Unet, noise: Noise) -> None:
    config = tiny_stage()
    x0 = Denoiser(random_unet(config), config)(noise(2, 3, 8, 8), torch.full((2,), 0.5))
    assert Conditions().of_network(torch.zeros(1, 3, 4, 4)) == {}
    assert x0.shape == (2, 3, 8, 8)


def test_images_with_and_without_embedding_do_not_disturb_each_other(
    tiny_stage: Stage, random_unet: Unet, noise: Noise
) -> None:
    """Each as the library makes it with a `cond_drop_prob` of 0 or 1, which there is the whole batch's."""
    unet, (x_t, _) = random_unet(tiny_stage(EMBEDDED)), noise(2, 4, 3, 8, 8)
    log_snr, embedding, given = torch.arange(4.0), noise(4, 4), torch.tensor([True, False, False, True])
    together = predict(unet, x_t, log_snr, Conditions(embedding=embedding, embedding_given=given))
    mask = torch.ones(1, 1, dtype=torch.bool)
    for i in range(4):
        rows = slice(i, i + 1)
        drop = 0.0 if given[i] else 1.0
        wanted = unet(x_t[rows], log_snr[rows], text_embeds=embedding[rows, None], text_mask=mask, cond_drop_prob=drop)
        other = unet(
            x_t[rows], log_snr[rows], text_embeds=embedding[rows, None], text_mask=mask, cond_drop_prob=1 - drop
        )
        torch.testing.assert_close(together[rows], wanted, atol=1e-5, rtol=1e-5)
        assert (wanted - other).abs().mean() > 1e-3


def test_a_probability_still_drops_embeddings_at_random(tiny_stage: Stage, random_unet: Unet, noise: Noise) -> None:
    unet, x_t, embedding = random_unet(tiny_stage(EMBEDDED)), noise(1, 3, 8, 8), noise(1, 4)

    def forward(count: int, drop: float) -> Tensor:
        rows = {"text_embeds": embedding[:, None].expand(count, 1, 4)}
        prediction: Tensor = unet(x_t.expand(count, 3, 8, 8), torch.ones(count), **rows, cond_drop_prob=drop)
        return prediction

    (kept,), (dropped,) = forward(1, 0.0), forward(1, 1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        predictions = forward(40, 0.5)
    near_kept = (predictions - kept).abs().amax(dim=(1, 2, 3)) < 1e-4
    near_dropped = (predictions - dropped).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (near_kept ^ near_dropped).all()
    assert 7 < int(near_kept.sum()) < 33  # 4 standard errors round half of them


def test_an_embedding_of_zeros_is_one_like_any_other(
    tiny_stage: Stage, random_unet: Unet, generators: Generators
) -> None:
    config = tiny_stage(EMBEDDED)
    unet = random_unet(config)
    zeros, nearly, none = (
        sample_stage(unet, config, generators=generators(0), embedding=embedding)
        for embedding in (torch.zeros(1, 4), torch.full((1, 4), 1e-5), None)
    )
    torch.testing.assert_close(zeros, nearly, atol=1e-3, rtol=0)
    assert (zeros - none).abs().mean() > 1e-2


def test_an_images_embedding_does_not_reach_its_neighbour(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, noise: Noise
) -> None:
    config = tiny_stage(EMBEDDED, sampling=SamplingConfig(4, "ddim", guidance=1.5))
    unet, embedding = random_unet(config), noise(2, 4)
    together = sample_stage(unet, config, generators=generators(0, 1), embedding=embedding)
    alone = [sample_stage(unet, config, generators=generators(i), embedding=embedding[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("unet", "shape", "message"),
    [
        (
            EMBEDDED,
            (1, 5),
            "the stage of 8 px takes an embedding of 4 numbers for each image, (B, 4), got the shape (1, 5)",
        ),
        (
            EMBEDDED,
            (4,),
            "the stage of 8 px takes an embedding of 4 numbers for each image, (B, 4), got the shape (4,)",
        ),
        ({}, (1, 4), "the stage of 8 px takes no embedding, got the shape (1, 4)"),
    ],
)
def test_an_embedding_that_does_not_fit_is_refused(
    tiny_stage: Stage,
    random_unet: Unet,
    generators: Generators,
    unet: dict[str, Any],
    shape: tuple[int, ...],
    message: str,
) -> None:
    config = tiny_stage(unet)
    with pytest.raises(ValueError, match=re.escape(message)):
        sample_stage(random_unet(config), config, generators=generators(0), embedding=torch.zeros(shape))


def reference_threshold(image: list[float], quantile: float) -> list[float]:
    """Imagen's dynamic thresholding, number by number."""
    sizes = sorted(abs(value) for value in image)
    place = quantile * (len(sizes) - 1)
    below = int(place)
    above = min(below + 1, len(sizes) - 1)
    limit = max(1.0, sizes[below] + (place - below) * (sizes[above] - sizes[below]))
    return [min(max(value, -limit), limit) / limit for value in image]


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_a_dynamic_threshold_is_each_images_own_quantile(noise: Noise, quantile: float) -> None:
    x0 = torch.tensor([0.3, 1.0, 4.0]).reshape(-1, 1, 1, 1) * noise(3, 3, 5, 7)
    found = dynamic_threshold(x0, quantile)
    wanted = [reference_threshold(image.flatten().tolist(), quantile) for image in x0]
    torch.testing.assert_close(found.flatten(start_dim=1), torch.tensor(wanted))
    assert found.abs().max() <= 1
    torch.testing.assert_close(found[0], x0[0].clamp(-1, 1), rtol=0, atol=0)  # in range by itself: left alone


def test_thresholds_keep_x0_in_range_each_in_its_way(tiny_stage: Stage, noise: Noise) -> None:
    x_t, t = 30 * noise(2, 3, 8, 8), torch.full((2,), 0.5)
    conditions = Conditions(embedding=torch.zeros(2, 4), embedding_given=torch.tensor([False, False]))

    def x0(**threshold: Any) -> Tensor:
        config = tiny_stage(EMBEDDED, objective="x0", sampling=SamplingConfig(**threshold))
        return Denoiser(Linear(), config, conditions)(x_t, t)

    torch.testing.assert_close(x0(threshold="static"), (0.1 * x_t).clamp(-1, 1))
    torch.testing.assert_close(x0(threshold="dynamic"), dynamic_threshold(0.1 * x_t, 0.95))
    dynamic = x0(threshold="dynamic", threshold_quantile=1.0)
    torch.testing.assert_close(dynamic, x_t / x_t.abs().amax(dim=(1, 2, 3), keepdim=True))
    assert (dynamic.abs() == 1).sum() == 2
    assert (x0(threshold="static").abs() == 1).sum() > 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_prediction_has_the_precision_of_its_input(
    tiny_stage: Stage, random_unet: Unet, noise: Noise, dtype: torch.dtype
) -> None:
    unet = random_unet(tiny_stage()).to(dtype)
    found = predict(unet, noise(1, 3, 8, 8).to(dtype), torch.ones(1, dtype=dtype), Conditions())
    assert found.dtype == dtype
    assert torch.equal(found, found.float().to(dtype)) == (dtype == torch.float32)  # not rounded on the way


def test_a_network_in_half_precision_predicts_nearly_the_same_in_float32(
    tiny_stage: Stage, random_unet: Unet, noise: Noise
) -> None:
    config = tiny_stage()
    unet, x_t, log_snr = random_unet(config), noise(1, 3, 8, 8), torch.ones(1)
    wanted = predict(unet, x_t, log_snr, Conditions())
    for layer in unet.modules():
        if isinstance(layer, nn.Conv2d):
            layer.bfloat16()
    found = predict(unet, x_t, log_snr, Conditions())
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().mean() < 0.05 * wanted.std()
