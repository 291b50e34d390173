"""The one sampling loop: plain sampling, inpainting and outpainting, with every solver."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from cdm_core.checks import check_shape
from cdm_core.devices.host_batch import empty_host_batch
from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import (
    DEFAULT_METHOD,
    SOLVERS,
    Method,
    StepWeights,
    eta_methods,
    sampling_times,
    step_weights,
)

THREADED_VALUES = 2**17
"""Images of so many values are worth a thread each; their draw takes half a millisecond."""
Denoise = Callable[[Tensor, Tensor], Tensor]
"""Takes x_t, (B, C, H, W), and t, (B,), and predicts x0, (B, C, H, W)."""


def draw_noise(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Draws standard normal noise (len(generators), *shape), each image from its own generator.

    An image then does not depend on the batch that it is sampled in. The draws are made on the generators' device and
    moved, so that CPU generators give the same image on every device. A GPU is not waited for, and large images for it
    are drawn by several threads; those of a network on the CPU are not, since it would share its cores with them.
    """
    drawn_on = generators[0].device if generators else torch.device("cpu")
    if drawn_on.type != "cpu":
        return torch.stack([torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]).to(device)
    noise = empty_host_batch((len(generators), *shape), device)
    threads = 1
    if device.type == "cuda" and math.prod(shape) >= THREADED_VALUES:
        threads = min(len(generators), os.cpu_count() or 1)
    if threads == 1:
        for image, generator in zip(noise, generators, strict=True):
            _draw(image, generator)
    else:
        with ThreadPoolExecutor(threads, thread_name_prefix="noise") as pool:
            list(pool.map(_draw, noise, generators))
    return noise.to(device, non_blocking=True)


def _draw(image: Tensor, generator: torch.Generator) -> None:
    """Fills an image with the numbers that `torch.randn` would give, in any thread."""
    with torch.inference_mode(image.is_inference()):
        image.normal_(generator=generator)


@torch.no_grad()
def sample(
    denoise: Denoise,
    noise: Tensor,
    *,
    schedule: Schedule,
    times: int | Sequence[float],
    method: Method = DEFAULT_METHOD,
    eta: float = 0.0,
    generators: Sequence[torch.Generator] | None = None,
    known: Tensor | None = None,
    known_mask: Tensor | None = None,
    resample: int = 1,
    jump: int = 1,
    take: "TakeSteps | None" = None,
    watch: "Watch | None" = None,
) -> Tensor:
    """Turns noise into images, in times from 1 down.

    With `known` it inpaints: at every step the known pixels, brought to the step's noise level, take the sample's
    place. The result holds the network's version of them, which the caller may blend or replace.

    Args:
        denoise: Predicts x0 from x_t and t, every condition bound to it.
        noise: Standard normal, (B, C, H, W), on the device to sample on.
        schedule: The forward process that `denoise` was trained for.
        times: Falling times, from 1 to that to stop at, see `cdm_core.diffusion.solver.sampling_times`; or a number of
            steps, for evenly spaced times from 1 to 0. Stopped over 0, the result still has the noise of that time.
        method: The solver, one of `cdm_core.diffusion.solver.SOLVERS`.
        eta: For solvers that take it, as 'ddim', the share of the noise that each step replaces with fresh noise: 0 is
            deterministic, 1 is 'ddpm'.
        generators: One for each image: the noise of stochastic methods and of resampling.
        known: Known pixels in [-1, 1], (B, C, H, W); others are ignored.
        known_mask: 1 where a pixel is known, else 0, (B, 1, H, W). Values between soften the border of what is known;
            they are for deterministic sampling, where both sides carry the same noise.
        resample: How often each stretch of steps is run while inpainting; 1 is once, 10 is RePaint's.
        jump: Length of such a stretch in steps.
        take: `take_steps` or that compiled as a whole, see `cdm_core.stages.inference.compiled_steps`; the compiled one
            is for what draws no fresh noise.
        watch: Is called after every step with its number, from 0; the time that it ended at; the sample there; and the
            prediction of x0 that it was taken with. Not together with `take`.

    Returns:
        Images in the range of `denoise`, (B, C, H, W).

    Raises:
        ValueError: A count under 1, times that do not fall from 1 to one in [0, 1), an `eta` that the solver does not
            take, a `known` without its mask, or one of another shape than the noise, no generators where fresh noise is
            needed, or another number of them than of images.

    Source: The solvers name theirs; Lugmayr et al. 2022, 'RePaint', algorithm 1, for `resample` and `jump`.
    """
    solver = SOLVERS[method]
    steps = times if isinstance(times, int) else len(times) - 1
    if min(steps, resample, jump) < 1:
        raise ValueError(f"steps, resample and jump are at least 1, got {steps}, {resample} and {jump}")
    grid = sampling_times(times) if isinstance(times, int) else list(times)
    _check_solver(method, eta, grid)
    eta = eta if solver.takes_eta else solver.eta
    _check_known(noise, known, known_mask)
    if generators is None and (eta > 0 or resample > 1):
        raise ValueError("ddpm, eta over 0 and resampling draw fresh noise: give one generator for each image")
    if generators is not None and len(generators) != len(noise):
        raise ValueError(f"each image has its own generator, got {len(generators)} for {len(noise)} images")
    if watch is not None and take is not None:
        raise ValueError("compiled steps cannot be watched: give take or watch, not both")

    def fresh_noise() -> Tensor:
        return draw_noise(noise.shape[1:], generators or (), noise.device)

    path = list(_path(steps, resample if known is not None else 1, jump))
    plan = Plan(schedule, method, eta, grid, step_weights(schedule, grid, method=method, eta=eta), path)
    fresh = fresh_noise if eta > 0 or any(j < i for i, j in path) else None
    if watch is not None:
        return take_steps(denoise, noise, plan, known, known_mask, fresh, watch)
    return (take or take_steps)(denoise, noise, plan, known, known_mask, fresh)


def _check_solver(method: Method, eta: float, times: Sequence[float]) -> None:
    if times[0] != 1 or not all(0 <= later < earlier for earlier, later in pairwise(times)):
        raise ValueError(f"times fall from 1 to one in [0, 1), got {times}")
    if not 0 <= eta <= 1 or (eta and not SOLVERS[method].takes_eta):
        raise ValueError(f"eta lies in [0, 1], and is for {' and '.join(eta_methods())}; got {eta} for '{method}'")


def _check_known(noise: Tensor, known: Tensor | None, known_mask: Tensor | None) -> None:
    if (known is None) != (known_mask is None):
        raise ValueError("known pixels come with their mask: give both known and known_mask, or neither")
    if known is not None and known_mask is not None:
        check_shape("known", known, noise.shape)
        check_shape("known_mask", known_mask, (len(noise), 1, *noise.shape[2:]))


@dataclass(frozen=True)
class Plan:
    """Which steps are taken, as numbers that are known before any is.

    Args:
        schedule: The forward process.
        method: The solver.
        eta: Share of the noise that each step replaces.
        times: Falling times from 1.
        weights: Of the steps between them.
        path: Moves between indices into the times, one after the other; see `sample` on going back up.
    """

    schedule: Schedule
    method: Method
    eta: float
    times: list[float]
    weights: list[StepWeights]
    path: list[tuple[int, int]]


FreshNoise = Callable[[], Tensor]
Watch = Callable[[int, float, Tensor, Tensor], None]
TakeSteps = Callable[[Denoise, Tensor, Plan, Tensor | None, Tensor | None, FreshNoise | None], Tensor]


def take_steps(
    denoise: Denoise,
    noise: Tensor,
    plan: Plan,
    known: Tensor | None,
    known_mask: Tensor | None,
    fresh_noise: FreshNoise | None,
    watch: Watch | None = None,
) -> Tensor:
    """Takes the steps of a plan from noise, (B, C, H, W); the arguments are those of `sample`.

    Without fresh noise it is a function of tensors and of numbers that are known ahead, so it compiles to one graph.
    """
    schedule, steps_weights, other_at = plan.schedule, plan.weights, SOLVERS[plan.method].other
    # made where the network is: a copy would be waited for
    times = [torch.full((), time, device=noise.device).expand(len(noise)) for time in plan.times]

    def with_known(x: Tensor, t: Tensor) -> Tensor:
        if known is None or known_mask is None:
            return x
        # On a deterministic path the known pixels keep the noise that they began with: their own exact trajectory.
        known_noise = noise if plan.eta == 0 or fresh_noise is None else fresh_noise()
        return known_mask * schedule.add_noise(known, t, known_noise) + (1 - known_mask) * x

    x = noise
    x0_before: Tensor | None = None
    for i, j in plan.path:
        t, t_next = times[i], times[j]
        if j < i and fresh_noise is not None:  # back up, to harmonise known and new pixels once more
            x = schedule.renoise(x, t, t_next, fresh_noise())
            x0_before = None
            continue
        x = with_known(x, t)
        x0 = denoise(x, t)
        weights = steps_weights[i]
        direction, other = x0, x0_before if other_at == "before" else None
        if other_at == "end" and weights.other:
            other = denoise(with_known(weights.x * x + weights.x0 * x0, t_next), t_next)
        if other is not None and weights.other:
            direction = x0 + weights.other * (other - x0)
        x0_before = x0
        x = weights.x * x + weights.x0 * direction
        if weights.noise and fresh_noise is not None:
            x = x + weights.noise * fresh_noise()
        if watch is not None:
            watch(i, plan.times[j], x, x0)
    return x


def _path(steps: int, resample: int, jump: int) -> Iterator[tuple[int, int]]:
    """Yields moves between indices into the times: (i, i + 1) a step down, (i, k) with k < i a jump back up."""
    for start in range(0, steps, jump):
        end = min(start + jump, steps)
        repeats = resample if end < steps else 1  # after the last step the image is clean: nothing to go back from
        for r in range(repeats):
            yield from ((i, i + 1) for i in range(start, end))
            if r < repeats - 1:
                yield end, start
