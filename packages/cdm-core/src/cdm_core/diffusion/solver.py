"""The steps of a solver as weighted sums: the same numbers for a batch of images and for a canvas of any size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from cdm_core.diffusion.schedule import Schedule

Method = Literal["ddpm", "ddim", "dpmpp_2m", "heun"]
DEFAULT_METHOD: Method = "dpmpp_2m"
"""The solver wherever none is named: deterministic, of second order, one evaluation of the network a step."""


@dataclass(frozen=True)
class Solver:
    """A solver: what one of its steps takes, and what it can be combined with.

    Args:
        order: Of convergence.
        eta: Share of the noise that each step replaces with fresh noise, where that is not a choice.
        takes_eta: Whether it is a choice.
        other: Second prediction that a step uses: of the step before, or at the step's own end; None for none.
        other_share: Its share in the direction, from the step's length and that of the step before, both in half the
            log-SNR.
    """

    order: int
    eta: float = 0.0
    takes_eta: bool = False
    other: Literal["before", "end"] | None = None
    other_share: Callable[[float, float], float] = lambda h, h_before: 0.0

    @property
    def evaluations(self) -> int:
        """Evaluations of the network a step; the last step to time 0 takes one."""
        return 2 if self.other == "end" else 1


def _linear_share(h: float, _: float) -> float:
    """For an x0 that is linear in half the log-SNR: 1/2 for short steps, towards 1 for long ones."""
    share = -math.expm1(-h)
    return (1 - share / h) / share


SOLVERS: dict[Method, Solver] = {
    # Ho et al. 2020, equation 7; the same as DDIM with eta 1
    "ddpm": Solver(order=1, eta=1.0),
    # Song et al. 2021, equation 12
    "ddim": Solver(order=1, takes_eta=True),
    # Lu et al. 2022, 'DPM-Solver++', algorithm 2: the DDIM step towards an x0 extrapolated from two predictions
    "dpmpp_2m": Solver(order=2, other="before", other_share=lambda h, h_before: -h / (2 * h_before)),
    # Hochbruck and Ostermann 2010, 'Exponential integrators', section 2.2: towards one interpolated with a prediction
    # at the step's end
    "heun": Solver(order=2, other="end", other_share=_linear_share),
}
"""Every solver by its name; a new one has its name in `Method` and its line here, and nothing elsewhere."""


def eta_methods() -> list[str]:
    """Returns the names of the solvers that take an eta."""
    return [f"'{method}'" for method, solver in SOLVERS.items() if solver.takes_eta]


@dataclass(frozen=True)
class StepWeights:
    """A step as a weighted sum: `x x_t + x0 direction + noise n`, n being fresh standard normal noise.

    The direction is the predicted x0, or, for solvers of second order, `x0_t + other (x0_other - x0_t)` with another
    prediction, see `Solver`.

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
        method: The solver, one of `SOLVERS`.
        eta: For solvers that take it, the share of the noise that each step replaces.

    Source: Song et al. 2021, equation 12, for x, x0 and noise; the solvers name that of the other prediction's share.
    """
    solver = SOLVERS[method]
    # In the precision in which networks get the time: the cosine schedule's log-SNR at t = 1 depends on it.
    log_snrs = schedule.log_snr(torch.tensor(times)).tolist()
    weights = []
    for step, (log_snr, log_snr_next) in enumerate(pairwise(log_snrs)):
        last = times[step + 1] == 0
        (alpha, sigma), (alpha_next, sigma_next) = _alpha_sigma(log_snr), _alpha_sigma(log_snr_next)
        snr_drop = -math.expm1(log_snr - log_snr_next)  # 1 - snr(t) / snr(t_next)
        eta_step = 1.0 if last else eta if solver.takes_eta else solver.eta
        x = sigma_next / sigma * math.sqrt(1 - eta_step**2 * snr_drop)
        noise = 0.0 if last else eta_step * sigma_next * math.sqrt(snr_drop)
        h, h_before = (log_snr_next - log_snr) / 2, (log_snr - log_snrs[step - 1]) / 2
        has_other = not last and (step > 0 or solver.other != "before")
        other = solver.other_share(h, h_before) if has_other else 0.0
        weights.append(StepWeights(x, alpha_next - x * alpha, noise, other))
    return weights


def _alpha_sigma(log_snr: float) -> tuple[float, float]:
    return math.sqrt(1 / (1 + math.exp(-log_snr))), math.sqrt(1 / (1 + math.exp(log_snr)))
