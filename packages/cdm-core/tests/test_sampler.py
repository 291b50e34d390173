"""The sampler against denoisers that are known exactly and need no network."""

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import ConfigError, SamplingConfig, Schedule, StageConfig, sample, sample_stage
from cdm_core.diffusion.sampler import Denoise, draw_noise, take_steps
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.diffusion.solver import SOLVERS as TABLE
from cdm_core.diffusion.solver import Method, sampling_times

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
Noise = Callable[..., Tensor]
Solver = dict[str, Any]

ETA_HALF: Solver = {"method": "ddim", "eta": 0.5}
SOLVERS = [*({"method": method} for method in get_args(Method)), ETA_HALF]
IDS = [*get_args(Method), "ddim-eta-0.5"]
EVERY_SOLVER = pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
BOTH_SCHEDULES = pytest.mark.parametrize("name", ["cosine", "linear"])  # which end in noise alone
DETERMINISTIC = pytest.mark.parametrize("method", [name for name in TABLE if not TABLE[name].eta])
MEAN, SPREAD = 0.3, 0.4
ATTENTION = {
    "dim_mults": (1, 2),
    "layer_attns": (False, True),
    "layer_cross_attns": (False, True),
    "attend_at_middle": True,
}


def gaussian(schedule: Schedule, mean: float = MEAN, spread: float = SPREAD) -> Denoise:
    """The exact denoiser of pixels drawn from N(mean, spread^2)."""

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        gain = spread**2 * alpha / (alpha**2 * spread**2 + sigma**2)
        return mean + gain * (x_t - alpha * mean)

    return denoise


def marginal(schedule: Schedule, t: float) -> tuple[Tensor, Tensor]:
    """Mean and spread of that Gaussian under the forward process at time t."""
    alpha, sigma = schedule.alpha_sigma(torch.tensor([t]))
    return alpha * MEAN, (alpha**2 * SPREAD**2 + sigma**2).sqrt()


def exact_solution(schedule: Schedule, noise: Tensor, t: float) -> Tensor:
    """Where the probability-flow ODE of that Gaussian takes the noise: it keeps each pixel's number of deviations."""
    (mean_1, spread_1), (mean_t, spread_t) = marginal(schedule, 1.0), marginal(schedule, t)
    return mean_t + spread_t * (noise - mean_1) / spread_1


@BOTH_SCHEDULES
@EVERY_SOLVER
@pytest.mark.parametrize("until", [0.0, 0.3])
def test_samples_of_a_gaussian_have_the_mean_and_spread_of_the_forward_process(
    generators: Generators, name: ScheduleName, solver: Solver, until: float
) -> None:
    schedule, (generator,) = Schedule(name), generators(0)
    start = draw_noise((1, 150, 150), [generator], torch.device("cpu"))
    steps = {1: 500 if TABLE[solver["method"]].eta else 250, 2: 100}[TABLE[solver["method"]].order]
    times = sampling_times(steps, until=until)
    x = sample(gaussian(schedule), start, schedule=schedule, times=times, generators=[generator], **solver)
    # at time 0 the image itself, without the little sigma that the schedule has there
    mean, spread = marginal(schedule, until) if until else (torch.tensor(MEAN), torch.tensor(SPREAD))
    # 4 standard errors of the mean of 22,500 draws; the spread's bias of so many steps is below 3%
    assert x.mean().item() == pytest.approx(mean.item(), abs=0.027 * spread.item())
    assert x.std().item() == pytest.approx(spread.item(), rel=0.03)


@EVERY_SOLVER
def test_samples_of_a_finite_data_set_land_on_its_images_as_often_as_they_are_in_it(
    generators: Generators, noise: Noise, solver: Solver
) -> None:
    schedule, points, share = Schedule(), noise(3, 3, 2, 2).clamp(-1, 1), torch.tensor([0.5, 0.3, 0.2])

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        squares = (x_t[:, None] - alpha[:, None] * points).square().sum(dim=(2, 3, 4))
        weights = torch.softmax(share.log() - squares / (2 * sigma.reshape(-1, 1) ** 2), dim=1)
        return torch.einsum("bn,nchw->bchw", weights, points)

    each = generators(*range(400))
    start = draw_noise((3, 2, 2), each, torch.device("cpu"))
    x = sample(denoise, start, schedule=schedule, times=40, generators=each, **solver)
    distance, nearest = (x[:, None] - points).abs().amax(dim=(2, 3, 4)).min(dim=1)
    assert distance.max() < 0.02  # the schedule's sigma at t = 0 is 0.0125
    counts = nearest.bincount(minlength=3)
    assert ((counts - 400 * share).abs() < 4 * (400 * share * (1 - share)).sqrt()).all()  # 4 standard errors


@BOTH_SCHEDULES
@DETERMINISTIC
def test_errors_of_deterministic_methods_fall_with_their_order(
    noise: Noise, name: ScheduleName, method: Method
) -> None:
    schedule, start = Schedule(name), noise(1, 3, 16, 16)
    wanted = exact_solution(schedule, start, 0.3)  # before the last step, which is of first order for every method

    def error(steps: int) -> float:
        times = sampling_times(steps, until=0.3)
        x = sample(gaussian(schedule), start, schedule=schedule, times=times, method=method)
        return (x - wanted).abs().mean().item()

    measured = math.log2(error(20) / error(80)) / 2  # steps double twice
    assert measured == pytest.approx(TABLE[method].order, abs=0.2)


@BOTH_SCHEDULES
@DETERMINISTIC
def test_images_of_deterministic_methods_converge_to_the_exact_solution(
    noise: Noise, name: ScheduleName, method: Method
) -> None:
    schedule, start = Schedule(name), noise(1, 3, 16, 16)
    wanted = exact_solution(schedule, start, 0.0)

    def error(method: Method, steps: int) -> float:
        x = sample(gaussian(schedule), start, schedule=schedule, times=steps, method=method)
        return (x - wanted).abs().mean().item()

    assert error(method, 160) < error(method, 20) / 6
    assert error(method, 160) < 0.008
    assert method == "ddim" or error(method, 20) < error("ddim", 20)


@BOTH_SCHEDULES
@pytest.mark.parametrize("until", [0.0, 0.2])
@DETERMINISTIC
def test_deterministic_methods_keep_each_samples_quantile(
    noise: Noise, name: ScheduleName, method: Method, until: float
) -> None:
    """The flow of numbers on a line is monotone: it takes quantiles of the noise to those of the data."""
    schedule, start = Schedule(name), noise(1, 1, 20, 20)
    means, spread, share = torch.tensor([-0.6, 0.5]), 0.2, torch.tensor([0.3, 0.7])  # of a mixture of two Gaussians

    def quantile(x: Tensor, t: float) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(torch.tensor([t]))
        width = (alpha**2 * spread**2 + sigma**2).sqrt()
        return (share * torch.special.ndtr((x[..., None] - alpha[..., None] * means) / width[..., None])).sum(dim=-1)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value[..., None] for value in schedule.alpha_sigma(t))
        variance = alpha**2 * spread**2 + sigma**2
        off = x_t[..., None] - alpha * means
        weights = torch.softmax(share.log() - off**2 / (2 * variance), dim=-1)
        return (weights * (means + spread**2 * alpha / variance * off)).sum(dim=-1)

    times = sampling_times({1: 400, 2: 100}[TABLE[method].order], until=until)
    x = sample(denoise, start, schedule=schedule, times=times, method=method)
    torch.testing.assert_close(quantile(x, until), quantile(start, 1.0), atol=0.01, rtol=0)


@BOTH_SCHEDULES
@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("until", [0.98, 0.5, 0.001])
def test_heun_is_exact_where_x0_is_linear_in_the_log_snr(
    noise: Noise, name: ScheduleName, until: float, steps: int
) -> None:
    """However long the step: with the cosine schedule the first of a run spans a log-SNR of thirty and more."""
    schedule, start = Schedule(name), noise(1, 3, 4, 4)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return (0.3 + 0.05 * schedule.log_snr(t)).reshape(-1, 1, 1, 1).expand_as(x_t)

    found = sample(denoise, start, schedule=schedule, times=sampling_times(steps, until=until), method="heun")
    # variation of constants, x = sigma (noise / sigma_1 + integral of exp(lambda) x0 over lambda), by Simpson's rule
    ends = torch.tensor([1.0, until])
    begin, end = (schedule.log_snr(ends) / 2).tolist()
    at = torch.linspace(begin, end, 20_001, dtype=torch.float64)
    integrand = (at - end).exp() * (0.3 + 0.1 * at)
    simpson = integrand[0] + integrand[-1] + 4 * integrand[1:-1:2].sum() + 2 * integrand[2:-1:2].sum()
    alpha, sigma = (value.flatten() for value in schedule.alpha_sigma(ends))
    wanted = sigma[1] / sigma[0] * start + alpha[1] * (simpson * (end - begin) / 60_000).float()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("until", "share"), [(0.3, 0.4), (0.7, 0.9)])
def test_one_heun_step_from_pure_noise_is_nearer_than_one_of_ddim(noise: Noise, until: float, share: float) -> None:
    """A little only where the step ends in noise: x0 is constant over most of the log-SNR that it spans, not linear."""
    schedule, start = Schedule("cosine"), noise(1, 3, 16, 16)
    heun, ddim = (
        sample(gaussian(schedule), start, schedule=schedule, times=[1.0, until], method=method)
        for method in ("heun", "ddim")
    )
    wanted = exact_solution(schedule, start, until)
    assert (heun - wanted).abs().mean() < share * (ddim - wanted).abs().mean()


def test_ddim_that_renews_all_its_noise_is_ddpm(generators: Generators, noise: Noise) -> None:
    schedule = Schedule()
    ddpm, ddim = (
        sample(gaussian(schedule), noise(1, 3, 4, 4), schedule=schedule, times=9, generators=generators(0), **solver)
        for solver in ({"method": "ddpm"}, {"method": "ddim", "eta": 1.0})
    )
    torch.testing.assert_close(ddim, ddpm, rtol=0, atol=0)


@pytest.mark.parametrize("until", [0.0, 0.3])
@pytest.mark.parametrize("method", TABLE)
def test_a_step_calls_the_denoiser_as_often_as_the_table_says_but_the_step_to_the_image_once(
    generators: Generators, noise: Noise, method: Method, until: float
) -> None:
    schedule, seen = Schedule(), []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(t.item())
        return gaussian(schedule)(x_t, t)

    times = sampling_times(6, until=until)
    sample(denoise, noise(1, 3, 4, 4), schedule=schedule, times=times, method=method, generators=generators(0))
    evaluations = TABLE[method].evaluations
    assert len(seen) == 5 * evaluations + (evaluations if until > 0 else 1)
    assert seen[0] == 1
    assert min(seen) >= until


@EVERY_SOLVER
def test_an_image_does_not_depend_on_its_batch(
    tiny_stage: Stage, random_unet: Unet, generators: Generators, solver: Solver
) -> None:
    config = tiny_stage(ATTENTION, image_px=16, lowres_px=8, sampling=SamplingConfig(5, **solver))
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


def test_a_stages_own_eta_is_used(tiny_stage: Stage, random_unet: Unet, generators: Generators) -> None:
    kept, renewed = (tiny_stage(sampling=SamplingConfig(4, "ddim", eta=eta)) for eta in (0.0, 0.7))
    unet = random_unet(kept)
    images = [sample_stage(unet, config, generators=generators(0)) for config in (kept, renewed)]
    assert (images[0] - images[1]).abs().mean() > 1e-3


def test_a_stages_own_time_power_is_used(tiny_stage: Stage, random_unet: Unet, generators: Generators) -> None:
    assert sampling_times(2, power=2.0) == [1.0, 0.25, 0.0]
    assert sampling_times(2, power=2.0, until=0.2) == pytest.approx([1.0, 0.4, 0.2])
    assert sampling_times(4, until=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    config = tiny_stage(sampling=SamplingConfig(2, "ddim"))
    uneven = tiny_stage(sampling=SamplingConfig(2, "ddim", time_power=2.0))
    unet = random_unet(config)
    plain, drawn = (sample_stage(unet, each, generators=generators(1)) for each in (config, uneven))
    assert (plain - drawn).abs().max() > 1e-3
    with pytest.raises(ConfigError, match="time_power is positive and finite, got 0"):
        SamplingConfig(2, time_power=0.0)


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


@pytest.mark.parametrize("counts", [{"times": 0}, {"resample": 0}, {"jump": 0}, {"times": -1}])
def test_counts_are_at_least_one(noise: Noise, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), **{"times": 2, **counts})


@pytest.mark.parametrize(
    "wrong", [{"eta": 1.1}, {"eta": -0.1}, {"eta": 0.5, "method": "heun"}, {"eta": 0.5, "method": "dpmpp_2m"}]
)
def test_eta_lies_in_its_range(noise: Noise, generators: Generators, wrong: dict[str, Any]) -> None:
    wrong = {"method": "ddim", **wrong}
    with pytest.raises(ValueError, match=r"eta lies in \[0, 1\], and is for 'ddim'; got"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), times=2, generators=generators(0), **wrong)


@pytest.mark.parametrize("times", [[1.0, 1.0], [1.0, -0.1], [0.9, 0.0], [1.0, 0.2, 0.5]])
def test_times_fall_from_one(noise: Noise, times: list[float]) -> None:
    with pytest.raises(ValueError, match=r"times fall from 1 to one in \[0, 1\), got"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), times=times)


def test_steps_lie_at_the_times_given(noise: Noise) -> None:
    seen: list[float] = []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(t.item())
        return gaussian(Schedule())(x_t, t)

    times = [1.0, 0.5, 0.375, 0.0]
    sample(denoise, noise(1, 3, 4, 4), schedule=Schedule(), times=times)
    assert seen == times[:-1]


def test_steps_can_be_watched(noise: Noise) -> None:
    seen: list[tuple[int, float, Tensor, Tensor]] = []
    found = sample(
        gaussian(Schedule()),
        noise(1, 3, 4, 4),
        schedule=Schedule(),
        times=4,
        watch=lambda *step: seen.append(step),
    )
    assert [(number, time) for number, time, *_ in seen] == [(0, 0.75), (1, 0.5), (2, 0.25), (3, 0.0)]
    assert seen[-1][2] is found
    assert (seen[-1][3] - found).abs().max() < 0.05  # the last prediction, and the little of x_t that is left
    with pytest.raises(ValueError, match="compiled steps cannot be watched"):
        sample(
            gaussian(Schedule()),
            noise(1, 3, 4, 4),
            schedule=Schedule(),
            times=2,
            take=take_steps,
            watch=lambda *_: None,
        )


@pytest.mark.parametrize("solver", [{"method": "ddpm"}, ETA_HALF, {"method": "ddim", "resample": 2}])
def test_fresh_noise_needs_generators(noise: Noise, solver: Solver) -> None:
    with pytest.raises(ValueError, match="one generator for each image"):
        sample(gaussian(Schedule()), noise(1, 3, 4, 4), schedule=Schedule(), times=2, **solver)


def test_images_do_not_share_a_generator(noise: Noise, generators: Generators) -> None:
    with pytest.raises(ValueError, match="got 1 for 2 images"):
        sample(
            gaussian(Schedule()),
            noise(2, 3, 4, 4),
            schedule=Schedule(),
            times=2,
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
    with pytest.raises(ValueError, match="takes 4 channels of cond_images, got none"):
        sample_stage(random_unet(masked), masked, generators=each)
    with pytest.raises(ValueError, match="takes 4 channels of cond_images, got 3"):
        sample_stage(random_unet(masked), masked, generators=each, cond_images=image)
    with pytest.raises(ValueError, match="takes no channels of cond_images, got 3"):
        sample_stage(random_unet(base), base, generators=each, cond_images=image)
    with pytest.raises(ValueError, match="steps, resample and jump are at least 1"):
        sample_stage(random_unet(base), base, generators=each, steps=0)
