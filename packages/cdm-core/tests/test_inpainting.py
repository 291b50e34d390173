"""Inpainting, with and without resampling, against denoisers that are known exactly."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from cdm_core import Schedule, sample
from cdm_core.diffusion.sampler import draw_noise
from cdm_core.diffusion.solver import SOLVERS as SOLVERS_BY_NAME
from cdm_core.diffusion.solver import Method

Generators = Callable[..., list[torch.Generator]]
Noise = Callable[..., Tensor]
Solver = dict[str, Any]

SOLVERS = [*({"method": method} for method in get_args(Method)), {"method": "ddim", "eta": 0.5}]
EVERY_SOLVER = pytest.mark.parametrize("solver", SOLVERS, ids=[*get_args(Method), "ddim-eta-0.5"])

COVARIANCE = torch.tensor([[0.25, 0.2], [0.2, 0.25]])
MEANS = torch.tensor([[0.2], [-0.1]])
KNOWN = 0.7
COLUMNS = 2500
CONDITIONAL_MEAN = (MEANS[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (KNOWN - MEANS[0])).item()
CONDITIONAL_VARIANCE = (COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0]).item()


def inpainted_partner(
    generators: Generators, *, steps: int, resample: int, jump: int = 1, solver: Solver | None = None
) -> Tensor:
    """Samples columns of two correlated pixels, the upper one known; returns the lower ones."""
    schedule, (generator,) = Schedule(), generators(1)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value.reshape(()) for value in schedule.alpha_sigma(t))
        gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2))
        return MEANS + gain @ (x_t - alpha * MEANS)

    shape = (1, 2, COLUMNS)
    mask = torch.zeros(1, *shape)
    mask[:, :, 0] = 1
    x = sample(
        denoise,
        draw_noise(shape, [generator], torch.device("cpu")),
        schedule=schedule,
        times=steps,
        generators=[generator],
        known=KNOWN * mask,
        known_mask=mask,
        resample=resample,
        jump=jump,
        **(solver or {"method": "ddpm"}),
    )
    assert x[0, 0, 0].mean().item() == pytest.approx(KNOWN, abs=0.02)
    return x[0, 0, 1]


def off_in_standard_errors(partner: Tensor) -> tuple[float, float]:
    """How far the partner's mean and variance are from those of the conditional distribution."""
    mean_error = (CONDITIONAL_VARIANCE / COLUMNS) ** 0.5
    variance_error = CONDITIONAL_VARIANCE * (2 / (COLUMNS - 1)) ** 0.5
    return (
        (partner.mean().item() - CONDITIONAL_MEAN) / mean_error,
        (partner.var().item() - CONDITIONAL_VARIANCE) / variance_error,
    )


def test_inpainting_draws_from_the_conditional_distribution(generators: Generators) -> None:
    mean, variance = off_in_standard_errors(inpainted_partner(generators, steps=250, resample=10, jump=2))
    assert abs(mean) < 4
    assert abs(variance) < 4


def test_with_the_peer_librarys_renoising_the_variance_would_be_far_too_small(
    generators: Generators, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above can tell: imagen-pytorch's `q_sample_from_to` adds deviations where variances add up."""

    def renoise(schedule: Schedule, x_s: Tensor, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule.alpha_sigma(s), schedule.alpha_sigma(t)
        return alpha_t / alpha_s * x_s + (sigma_t * alpha_s - sigma_s * alpha_t) / alpha_s * noise

    monkeypatch.setattr(Schedule, "renoise", renoise)
    _, variance = off_in_standard_errors(inpainted_partner(generators, steps=250, resample=10, jump=2))
    assert variance < -12


@EVERY_SOLVER
def test_resampling_harmonises_new_pixels_with_known_ones(generators: Generators, solver: Solver) -> None:
    once, often = (
        abs(inpainted_partner(generators, steps=40, resample=resample, solver=solver).mean().item() - CONDITIONAL_MEAN)
        for resample in (1, 10)
    )
    assert often < once / 3


@EVERY_SOLVER
def test_known_pixels_hold(generators: Generators, noise: Noise, solver: Solver) -> None:
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
        times=50,
        generators=generators(0),
        known=known,
        known_mask=mask,
        **solver,
    )
    torch.testing.assert_close(x[..., :4], known[..., :4], atol=0.25, rtol=0)
    if solver["method"] == "ddpm" or "eta" in solver:  # fresh noise of each step's level
        assert torch.stack(found).std().item() == pytest.approx(1, abs=0.05)
        assert torch.stack(found).diff(dim=0).std().item() == pytest.approx(2**0.5, abs=0.05)
    else:  # their own trajectory, with the noise they began with
        for held in found:
            torch.testing.assert_close(held, start[..., :4], atol=1e-3, rtol=0)


@EVERY_SOLVER
def test_unknown_pixels_of_known_are_ignored(generators: Generators, noise: Noise, solver: Solver) -> None:
    schedule, known, mask = Schedule(), noise(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1

    def run(known: Tensor) -> Tensor:
        return sample(
            lambda x_t, t: (x_t / 2).tanh(),
            noise(1, 3, 8, 8),
            schedule=schedule,
            times=5,
            generators=generators(0),
            known=known,
            known_mask=mask,
            resample=2,
            **solver,
        )

    torch.testing.assert_close(run(known), run(known * mask + 9 * (1 - mask)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("steps", "resample", "jump", "path"),
    [
        (5, 1, 1, [0, 1, 2, 3, 4]),
        (4, 3, 1, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]),
        (6, 2, 2, [0, 1, 0, 1, 2, 3, 2, 3, 4, 5]),
        (5, 2, 2, [0, 1, 0, 1, 2, 3, 2, 3, 4]),
        (3, 10, 5, [0, 1, 2]),
    ],
)
@EVERY_SOLVER
def test_resampling_runs_each_stretch_of_steps_again(
    generators: Generators,
    noise: Noise,
    solver: Solver,
    steps: int,
    resample: int,
    jump: int,
    path: list[int],
) -> None:
    schedule, seen = Schedule(), []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(round((1 - t.item()) * steps))
        return (x_t / 2).tanh()

    x = sample(
        denoise,
        noise(1, 3, 4, 4),
        schedule=schedule,
        times=steps,
        generators=generators(0),
        known=torch.zeros(1, 3, 4, 4),
        known_mask=torch.ones(1, 1, 4, 4),
        resample=resample,
        jump=jump,
        **solver,
    )
    calls_of_step = {step: [step] for step in range(steps)}
    if SOLVERS_BY_NAME[solver["method"]].evaluations > 1:  # which also looks at the step's end, but for the last
        calls_of_step |= {step: [step, step + 1] for step in range(steps - 1)}
    assert seen == [call for step in path for call in calls_of_step[step]]
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("given", ["known", "known_mask"])
def test_known_pixels_and_their_mask_come_together(noise: Noise, given: str) -> None:
    half = {given: torch.ones(1, 1, 4, 4)}
    with pytest.raises(ValueError, match="both known and known_mask"):
        sample(lambda x_t, t: x_t, noise(1, 3, 4, 4), schedule=Schedule(), times=2, **half)
