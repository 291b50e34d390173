"""The low-resolution input of a stage that enlarges: resized, noised before or after, blurred."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cdm_core import Schedule, StageConfig
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.stages.lowres import BLUR_SIGMA_PX, blurred, enlarge, noise_px, noised_lowres

Stage = Callable[..., StageConfig]
Noise = Callable[..., Tensor]


@pytest.fixture
def upper(tiny_stage: Stage) -> Stage:
    """Makes a stage that enlarges 4 px to 8 px."""

    def make(**stage: object) -> StageConfig:
        return tiny_stage(image_px=8, lowres_px=4, **stage)

    return make


def test_the_nearest_pixel_is_repeated(upper: Stage, noise: Noise) -> None:
    small = noise(2, 3, 4, 4)
    wanted = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(enlarge(upper(lowres_resize="nearest"), small), wanted, rtol=0, atol=0)


def test_bilinear_enlarging_is_exact_on_a_ramp_and_keeps_the_mean(upper: Stage, noise: Noise) -> None:
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    # pixel centres: pixel i of the large image is at (i + 1/2) / 2 - 1/2 of the small one, the border is held
    wanted = ((torch.arange(8) + 0.5) / 2 - 0.5).clamp(0, 3)
    torch.testing.assert_close(enlarge(upper(), ramp), wanted.expand(1, 3, 8, 8))
    small = noise(1, 3, 4, 4)
    torch.testing.assert_close(enlarge(upper(), small).mean(), small.mean(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("resize", ["nearest", "bilinear"])
@pytest.mark.parametrize("before", [False, True])
def test_the_enlarged_image_has_the_noise_of_its_time(
    upper: Stage, noise: Noise, schedule: ScheduleName, resize: str, before: bool
) -> None:
    config = upper(lowres_schedule=schedule, lowres_resize=resize, noise_before_resize=before)
    small, fresh, t = noise(2, 3, 4, 4), noise(2, 3, noise_px(config), noise_px(config)), torch.tensor([0.1, 0.4])
    image, log_snr = noised_lowres(config, small, t, fresh)
    torch.testing.assert_close(log_snr, Schedule(schedule).log_snr(t), rtol=0, atol=0)
    alpha, sigma = Schedule(schedule).alpha_sigma(t)
    spread_noise = enlarge(config, fresh) if before else fresh
    torch.testing.assert_close(image, alpha * enlarge(config, small) + sigma * spread_noise)


def test_noise_before_enlarging_is_one_for_each_block_of_pixels(upper: Stage, noise: Noise) -> None:
    black, t = torch.zeros(1, 3, 4, 4), torch.tensor([0.5])
    before, after = (
        upper(noise_before_resize=before, lowres_resize="nearest", max_lowres_noise=1.0) for before in (True, False)
    )
    assert noise_px(before) == 4
    assert noise_px(after) == 8
    blocks, _ = noised_lowres(before, black, t, noise(1, 3, 4, 4))
    pixels, _ = noised_lowres(after, black, t, noise(1, 3, 8, 8))
    within = torch.nn.functional.unfold(blocks.transpose(0, 1), 2, stride=2)  # (3, 4, 16)
    assert within.std(dim=1).max() == 0
    assert within[:, 0].std() > 0.1
    assert torch.nn.functional.unfold(pixels.transpose(0, 1), 2, stride=2).std(dim=1).min() > 0


def test_a_base_stage_has_noise_of_its_own_size(tiny_stage: Stage) -> None:
    assert noise_px(tiny_stage(noise_before_resize=True)) == 8


def literal_blur(image: Tensor, sigma: float) -> Tensor:
    """A 3 x 3 Gaussian with the border repeated, pixel by pixel; (C, H, W)."""
    kernel = torch.tensor(
        [[torch.exp(torch.tensor(-(i * i + j * j) / (2 * sigma**2))) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    )
    kernel /= kernel.sum()
    height, width = image.shape[1:]
    result = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    pixel = image[:, min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1)]
                    result[:, y, x] += kernel[i + 1, j + 1] * pixel
    return result


def test_blur_is_a_gaussian_of_three_by_three_pixels_each_image_with_its_own(noise: Noise) -> None:
    images, sigmas = noise(4, 2, 5, 6), [*BLUR_SIGMA_PX, 1.5, 0.5]
    found = blurred(images, torch.tensor(sigmas))
    wanted = torch.stack([literal_blur(image, sigma) for image, sigma in zip(images, sigmas, strict=True)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_blur_of_zero_leaves_the_image(noise: Noise) -> None:
    images = noise(2, 3, 5, 5)
    found = blurred(images, torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(found[0], images[0], rtol=0, atol=0)
    assert (found[1] - images[1]).abs().mean() > 0.1


def test_blur_spreads_a_pixel_without_loss_and_keeps_what_is_flat() -> None:
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 1
    spread = blurred(point, torch.tensor([0.6]))[0, 0]
    assert spread.sum().item() == pytest.approx(1, abs=1e-6)
    assert spread[2, 2] == spread.max() < 0.6
    assert torch.count_nonzero(spread) == 9
    torch.testing.assert_close(spread, spread.T)
    flat = torch.full((1, 3, 4, 4), 0.7)
    torch.testing.assert_close(blurred(flat, torch.tensor([0.6])), flat)
