"""The sampler against a peer library, and against denoisers that are known exactly and need no network."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import SamplingConfig, Schedule, StageConfig, sample
from cdm_core.imagen_offline import imagen_module
from cdm_core.objective import Objective
from cdm_core.sampler import Denoise, Method, draw_noise
from cdm_core.schedule import ScheduleName
from cdm_core.stage import sample_stage

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
Noise = Callable[..., Tensor]

METHODS = get_args(Method)
MEAN, SPREAD = 0.3, 0.4
ATTENTION = {"layer_attns": (False, True), "layer_cross_attns": (False, True), "attend_at_middle": True}


def peer(configs: list[StageConfig], unets: list[nn.Module], **options: Any) -> nn.Module:
    """The same cascade as an `imagen_pytorch.Imagen`."""
    imagen: nn.Module = imagen_module().Imagen(
        unets,
        image_sizes=[config.image_px for config in configs],
        timesteps=[config.sampling.steps for config in configs],
        noise_schedules=[config.schedule for config in configs],
        pred_objectives=[{"x0": "x_start"}.get(config.objective, config.objective) for config in configs],
        condition_on_text=False,
        text_embed_dim=8,
        dynamic_thresholding=False,
        **options,
    )
    for own, unet in zip(imagen.unets, unets, strict=True):
        own.load_state_dict(unet.state_dict())  # it builds its U-Nets afresh
    return imagen


@pytest.mark.parametrize("objective", get_args(Objective))
@pytest.mark.parametrize("schedule", get_args(ScheduleName))
def test_ddpm_agrees_with_the_peer_library(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, schedule: ScheduleName, objective: Objective
) -> None:
    config = tiny_stage(ATTENTION, schedule=schedule, objective=objective, sampling=SamplingConfig(6, "ddpm"))
    unet = random_unet(config)
    imagen = peer([config], [unet])
    torch.manual_seed(5)
    wanted = imagen.sample(batch_size=1, use_tqdm=False)
    found = sample_stage(unet, config, generators=generators(5))
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("lowres_schedule", get_args(ScheduleName))
def test_super_resolution_agrees_with_the_peer_library(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, lowres_schedule: ScheduleName
) -> None:
    sampling = SamplingConfig(6, "ddpm", lowres_noise=0.3)
    upper = tiny_stage(image_px=16, lowres_px=8, lowres_schedule=lowres_schedule, sampling=sampling)
    configs = [tiny_stage(), upper]
    unets = [random_unet(config) for config in configs]
    imagen = peer(
        configs,
        unets,
        lowres_noise_schedule=lowres_schedule,
        lowres_sample_noise_level=0.3,
        resize_mode="bilinear",
    )
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    wanted = imagen.sample(start_at_unet_number=2, start_image_or_video=small, use_tqdm=False)
    found = sample_stage(unets[1], upper, generators=generators(5), lowres=small)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    other = sample_stage(unets[1], upper, generators=generators(5), lowres=1 - small)
    assert (other - found).abs().mean() > 1e-3  # so the low-resolution image was not ignored by both


def gaussian(schedule: Schedule, mean: float = MEAN, spread: float = SPREAD) -> Denoise:
    """The exact denoiser of pixels drawn from N(mean, spread^2)."""

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        gain = spread**2 * alpha / (alpha**2 * spread**2 + sigma**2)
        return mean + gain * (x_t - alpha * mean)

    return denoise


def exact_solution(schedule: Schedule, noise: Tensor) -> Tensor:
    """Where the probability-flow ODE of that Gaussian takes the noise: it keeps each pixel's number of deviations."""

    def deviation(t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = schedule.alpha_sigma(t)
        return alpha * MEAN, (alpha**2 * SPREAD**2 + sigma**2).sqrt()

    (mean_1, spread_1), (mean_0, spread_0) = deviation(torch.ones(1)), deviation(torch.zeros(1))
    return mean_0 + spread_0 * (noise - mean_1) / spread_1


@pytest.mark.parametrize("name", get_args(ScheduleName))
@pytest.mark.parametrize(("method", "steps"), [("ddpm", 500), ("ddim", 250), ("dpmpp_2m", 50)])
def test_samples_of_a_gaussian_have_its_mean_and_spread(
    generators: Generators, name: ScheduleName, method: Method, steps: int
) -> None:
    schedule, (generator,) = Schedule(name), generators(0)
    noise = draw_noise((1, 150, 150), [generator], torch.device("cpu"))
    x = sample(gaussian(schedule), noise, schedule=schedule, steps=steps, method=method, generators=[generator])
    # 4 standard errors of the mean of 22,500 draws; the spread's bias of so many steps is below 3%
    assert x.mean().item() == pytest.approx(MEAN, abs=0.011)
    assert x.std().item() == pytest.approx(SPREAD, rel=0.03)


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_deterministic_methods_converge_to_the_exact_solution(noise: Noise, name: ScheduleName) -> None:
    schedule, start = Schedule(name), noise(1, 3, 16, 16)
    wanted = exact_solution(schedule, start)

    def error(method: Method, steps: int) -> float:
        x = sample(gaussian(schedule), start, schedule=schedule, steps=steps, method=method)
        return (x - wanted).abs().mean().item()

    assert error("ddim", 160) < error("ddim", 40) / 3  # first order: a quarter
    assert error("dpmpp_2m", 20) < error("dpmpp_2m", 5) / 8  # second order: a sixteenth
    for steps in (10, 20):
        assert error("dpmpp_2m", steps) < error("ddim", steps)
    assert error("dpmpp_2m", 100) < 0.003


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_a_finite_data_set_land_on_its_images(generators: Generators, noise: Noise, method: Method) -> None:
    schedule, points = Schedule(), noise(2, 3, 4, 4).clamp(-1, 1)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        squares = (x_t[:, None] - alpha[:, None] * points).square().sum(dim=(2, 3, 4))
        weights = torch.softmax(-squares / (2 * sigma.reshape(-1, 1) ** 2), dim=1)
        return torch.einsum("bn,nchw->bchw", weights, points)

    each = generators(*range(200))
    start = draw_noise((3, 4, 4), each, torch.device("cpu"))
    x = sample(denoise, start, schedule=schedule, steps=40, method=method, generators=each)
    distance, nearest = (x[:, None] - points).abs().amax(dim=(2, 3, 4)).min(dim=1)
    assert distance.max() < 0.02  # the schedule's sigma at t = 0 is 0.0125
    assert 72 <= int(nearest.sum()) <= 128  # 4 standard errors round half of them


COVARIANCE = torch.tensor([[0.25, 0.2], [0.2, 0.25]])
MEANS = torch.tensor([[0.2], [-0.1]])
KNOWN = 0.7


def inpainted_partner(generators: Generators, *, steps: int, resample: int, method: Method = "ddpm") -> Tensor:
    """Samples 10,000 columns of two correlated pixels, the upper one known; returns the lower ones."""
    schedule, (generator,) = Schedule(), generators(1)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value.reshape(()) for value in schedule.alpha_sigma(t))
        gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2))
        return MEANS + gain @ (x_t - alpha * MEANS)

    shape = (1, 2, 10_000)
    mask = torch.zeros(1, *shape)
    mask[:, :, 0] = 1
    x = sample(
        denoise,
        draw_noise(shape, [generator], torch.device("cpu")),
        schedule=schedule,
        steps=steps,
        method=method,
        generators=[generator],
        known=KNOWN * mask,
        known_mask=mask,
        resample=resample,
    )
    assert x[0, 0, 0].mean().item() == pytest.approx(KNOWN, abs=0.02)
    return x[0, 0, 1]


CONDITIONAL_MEAN = (MEANS[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (KNOWN - MEANS[0])).item()
CONDITIONAL_SPREAD = (COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0]).sqrt().item()


def test_inpainting_draws_from_the_conditional_distribution(generators: Generators) -> None:
    partner = inpainted_partner(generators, steps=250, resample=10)
    assert partner.mean().item() == pytest.approx(CONDITIONAL_MEAN, abs=0.03)
    assert partner.std().item() == pytest.approx(CONDITIONAL_SPREAD, rel=0.07)


@pytest.mark.parametrize("method", METHODS)
def test_resampling_harmonises_new_pixels_with_known_ones(generators: Generators, method: Method) -> None:
    once, often = (
        abs(inpainted_partner(generators, steps=40, resample=resample, method=method).mean().item() - CONDITIONAL_MEAN)
        for resample in (1, 10)
    )
    assert often < once / 3


@pytest.mark.parametrize("method", METHODS)
def test_known_pixels_hold(generators: Generators, noise: Noise, method: Method) -> None:
    schedule, known = Schedule(), noise(1, 3, 8, 8).clamp(-1, 1)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    found: list[Tensor] = []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        found.append(((x_t - alpha * known) / sigma)[..., :4])  # the noise on the known pixels
        return (x_t / alpha.clamp(min=0.1)).clamp(-1, 1)

    start = noise(1, 3, 8, 8)
    x = sample(
        denoise,
        start,
        schedule=schedule,
        steps=50,
        method=method,
        generators=generators(0),
        known=known,
        known_mask=mask,
    )
    torch.testing.assert_close(x[..., :4], known[..., :4], atol=0.25, rtol=0)
    if method == "ddpm":  # fresh noise of each step's level
        assert torch.stack(found).std().item() == pytest.approx(1, abs=0.05)
        assert torch.stack(found).diff(dim=0).std().item() == pytest.approx(2**0.5, abs=0.05)
    else:  # their own trajectory, with the noise they began with
        for held in found:
            torch.testing.assert_close(held, start[..., :4], atol=1e-3, rtol=0)


def test_unknown_pixels_of_known_are_ignored(generators: Generators, noise: Noise) -> None:
    schedule, known, mask = Schedule(), noise(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1

    def run(known: Tensor) -> Tensor:
        return sample(
            gaussian(schedule),
            noise(1, 3, 8, 8),
            schedule=schedule,
            steps=5,
            method="ddpm",
            generators=generators(0),
            known=known,
            known_mask=mask,
        )

    torch.testing.assert_close(run(known), run(known * mask + 9 * (1 - mask)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("steps", "resample", "jump", "calls"),
    [
        (5, 1, 1, [0, 1, 2, 3, 4]),
        (4, 3, 1, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]),
        (6, 2, 2, [0, 1, 0, 1, 2, 3, 2, 3, 4, 5]),
        (5, 2, 2, [0, 1, 0, 1, 2, 3, 2, 3, 4]),
        (3, 10, 5, [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_resampling_runs_each_stretch_of_steps_again(
    generators: Generators, noise: Noise, method: Method, steps: int, resample: int, jump: int, calls: list[int]
) -> None:
    schedule, seen = Schedule(), []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(round((1 - t.item()) * steps))
        return gaussian(schedule)(x_t, t)

    x = sample(
        denoise,
        noise(1, 3, 4, 4),
        schedule=schedule,
        steps=steps,
        method=method,
        generators=generators(0),
        known=torch.zeros(1, 3, 4, 4),
        known_mask=torch.ones(1, 1, 4, 4),
        resample=resample,
        jump=jump,
    )
    assert seen == calls
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("method", METHODS)
def test_an_image_does_not_depend_on_its_batch(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, method: Method
) -> None:
    config = tiny_stage(ATTENTION, image_px=16, lowres_px=8, sampling=SamplingConfig(5, method))
    unet, lowres = random_unet(config), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(16) < 5).float().expand(4, 1, 16, 16)
    known = torch.full((4, 3, 16, 16), 0.8)

    def run(rows: slice) -> Tensor:
        held = {"known": known[rows], "known_mask": mask[rows]}
        return sample_stage(
            unet, config, generators=generators(10, 11, 12, 13)[rows], lowres=lowres[rows], resample=2, **held
        )

    together = run(slice(0, 4))
    alone = torch.cat([run(slice(i, i + 1)) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().mean() > 0.01


def test_conditions_reach_the_network(tiny_stage: Stage, random_unet: Unet, generators: Generators) -> None:
    config = tiny_stage({"cond_images_channels": 2})
    unet = random_unet(config)
    black, white = (
        sample_stage(unet, config, generators=generators(0), cond_images=torch.full((1, 2, 8, 8), value))
        for value in (0.0, 1.0)
    )
    assert (black - white).abs().mean() > 1e-3
    assert black.min() >= 0
    assert white.max() <= 1


@pytest.mark.parametrize("counts", [{"steps": 0}, {"resample": 0}, {"jump": 0}, {"steps": -1}])
def test_counts_are_at_least_one(noise: Noise, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), **{"steps": 2, **counts})


@pytest.mark.parametrize("given", ["known", "known_mask"])
def test_known_pixels_and_their_mask_come_together(noise: Noise, given: str) -> None:
    half = {given: torch.ones(1, 1, 4, 4)}
    with pytest.raises(ValueError, match="both known and known_mask"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), steps=2, **half)


@pytest.mark.parametrize(("method", "resample"), [("ddpm", 1), ("ddim", 2)])
def test_fresh_noise_needs_generators(noise: Noise, method: Method, resample: int) -> None:
    with pytest.raises(ValueError, match="one generator for each image"):
        sample(
            gaussian(Schedule()),
            noise(1, 3, 4, 4),
            schedule=Schedule(),
            steps=2,
            method=method,
            resample=resample,
        )


def test_images_do_not_share_a_generator(noise: Noise, generators: Generators) -> None:
    with pytest.raises(ValueError, match="got 1 for 2 images"):
        sample(
            gaussian(Schedule()),
            noise(2, 3, 4, 4),
            schedule=Schedule(),
            steps=2,
            method="ddpm",
            generators=generators(0),
        )


def test_a_stage_refuses_what_does_not_fit_it(tiny_stage: Stage, random_unet: Unet, generators: Generators) -> None:
    base, upper = tiny_stage(), tiny_stage(image_px=16, lowres_px=8)
    masked = tiny_stage({"cond_images_channels": 4})
    image, each = torch.zeros(1, 3, 8, 8), generators(0)
    with pytest.raises(ValueError, match="stage of 16 px enlarges a low-resolution image"):
        sample_stage(random_unet(upper), upper, generators=each)
    with pytest.raises(ValueError, match="stage of 8 px takes no low-resolution image"):
        sample_stage(random_unet(base), base, generators=each, lowres=image)
    with pytest.raises(ValueError, match="takes 4 channels of cond_images"):
        sample_stage(random_unet(masked), masked, generators=each)
    with pytest.raises(ValueError, match="takes no channels of cond_images"):
        sample_stage(random_unet(base), base, generators=each, cond_images=image)
    with pytest.raises(ValueError, match="steps, resample and jump are at least 1"):
        sample_stage(random_unet(base), base, generators=each, steps=0)
