"""The steps of a solver as weighted sums: the same numbers for a batch of images and for a canvas of any size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from cdm_core.diffusion.schedule import Schedule

Method = Literal["ddpm", "ddim", "dpmpp_2m", "heun"]
DEFAULT_METHOD: Method = "dpmpp_2m"
"""The solver wherever none is named: deterministic, of second order, one evaluation of the network a step."""


@dataclass(frozen=True)
class StepWeights:
    """What one step makes of its ingredients: `x x_t + x0 direction + noise n`, n being fresh standard normal noise.

    The direction is the predicted x0, or, for methods of second order, `x0_t + other (x0_other - x0_t)` with another
    prediction: that of the step before ('dpmpp_2m') or that at the step's end ('heun').

    Args:
        x: Weight of x_t.
        x0: Weight of the direction.
        noise: Weight of the noise; 0 for deterministic steps.
        other: Share of the other prediction in the direction.
    """

    x: float
    x0: float
    noise: float = 0.0
    other: float = 0.0


def sampling_times(steps: int, *, power: float = 1.0, until: float = 0.0) -> list[float]:
    """Returns the falling times that so many steps of sampling go through, from 1.

    Args:
        steps: Number of steps.
        power: Times are evenly spaced ones to this power: over 1, the last steps are the smallest.
        until: The last time.
    """
    even = torch.linspace(1.0, until if power == 1 else 0.0, steps + 1, dtype=torch.float64)
    times: list[float] = (even if power == 1 else until + (1 - until) * even**power).tolist()
    return times


def step_weights(
    schedule: Schedule, times: Sequence[float], *, method: Method = DEFAULT_METHOD, eta: float = 0.0
) -> list[StepWeights]:
    """Returns the weights of the steps from each time down to the next.

    The last step to t = 0 gives the posterior's mean, without noise, for every method: there the schedule still has a
    little sigma, which is not to stay in the image.

    Args:
        schedule: The forward process.
        times: Falling times from 1.
        method: See `cdm_core.sample`; the share of another prediction is that of the method wherever there is one.
        eta: For 'ddim', the share of the noise that each step renews; 'ddpm' renews all of it.

    Source: Song et al. 2021, equation 12; Lu et al. 2022, 'DPM-Solver++', algorithm 2; Hochbruck and Ostermann 2010,
        'Exponential integrators', section 2.2, for an x0 that is linear in half the log-SNR.
    """
    # In the precision in which networks are told the time: the cosine schedule's log-SNR at t = 1 depends on it.
    log_snrs = schedule.log_snr(torch.tensor(times)).tolist()
    weights = []
    for step, (log_snr, log_snr_next) in enumerate(pairwise(log_snrs)):
        last = times[step + 1] == 0
        renewal = 1.0 if method == "ddpm" or last else eta
        (alpha, sigma), (alpha_next, sigma_next) = _alpha_sigma(log_snr), _alpha_sigma(log_snr_next)
        renewed = -math.expm1(log_snr - log_snr_next)  # 1 - snr(t) / snr(t_next)
        x = sigma_next / sigma * math.sqrt(1 - renewal**2 * renewed)
        noise = 0.0 if last else renewal * sigma_next * math.sqrt(renewed)
        other, h = 0.0, (log_snr_next - log_snr) / 2
        if method == "dpmpp_2m" and step and not last:
            other = -h / (log_snr - log_snrs[step - 1])
        elif method == "heun" and not last:
            share = -math.expm1(-h)
            other = (1 - share / h) / share  # 1/2 for short steps, towards 1 for long ones
        weights.append(StepWeights(x, alpha_next - x * alpha, noise, other))
    return weights


def _alpha_sigma(log_snr: float) -> tuple[float, float]:
    return math.sqrt(1 / (1 + math.exp(-log_snr))), math.sqrt(1 / (1 + math.exp(log_snr)))
