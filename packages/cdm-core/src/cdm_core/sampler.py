"""The one sampling loop: plain sampling, inpainting and outpainting, with every solver."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from cdm_core.schedule import Schedule

Method = Literal["ddpm", "ddim", "dpmpp_2m"]
Denoise = Callable[[Tensor, Tensor], Tensor]
"""Takes x_t, (B, C, H, W), and t, (B,), and predicts x0, (B, C, H, W)."""


def draw_noise(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Draws standard normal noise (len(generators), *shape), each image from its own generator.

    An image then does not depend on the batch that it is sampled in. The draws are made on the generators' device and
    moved, so that CPU generators give the same image on every device.
    """
    draws = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    return torch.stack(draws).to(device, non_blocking=True)


@torch.no_grad()
def sample(
    denoise: Denoise,
    noise: Tensor,
    *,
    schedule: Schedule,
    steps: int,
    method: Method = "ddim",
    generators: Sequence[torch.Generator] | None = None,
    known: Tensor | None = None,
    known_mask: Tensor | None = None,
    resample: int = 1,
    jump: int = 1,
) -> Tensor:
    """Turns noise into images, in evenly spaced times from 1 to 0.

    With `known` it inpaints: at every step the known pixels, brought to the step's noise level, take the sample's
    place. The result holds what the network made of them; whoever calls blends or replaces them.

    Args:
        denoise: Predicts x0 from x_t and t, every condition bound to it.
        noise: Standard normal, (B, C, H, W), on the device to sample on.
        schedule: The forward process that `denoise` was trained for.
        steps: Number of steps down from noise to image.
        method: 'ddpm' (ancestral), 'ddim' (deterministic) or 'dpmpp_2m' (deterministic, second order: DDIM with x0
            extrapolated from the last two predictions).
        generators: One for each image: the noise of 'ddpm' and of resampling.
        known: Known pixels in [-1, 1], (B, C, H, W); others are ignored.
        known_mask: 1 where a pixel is known, else 0, (B, 1, H, W). Values between soften the border of what is known;
            they are for the deterministic methods, where both sides carry the same noise.
        resample: How often each stretch of steps is run while inpainting; 1 is once, 10 is RePaint's.
        jump: Length of such a stretch in steps.

    Returns:
        Images in the range of `denoise`, (B, C, H, W).

    Raises:
        ValueError: `steps`, `resample` or `jump` under 1, a `known` without its mask, no generators where fresh noise
            is needed, or another number of them than of images.

    Source: Ho et al. 2020, equation 7; Song et al. 2021, equation 12 (DDPM is its eta = 1); Lu et al. 2022,
        'DPM-Solver++', algorithm 2; Lugmayr et al. 2022, 'RePaint', algorithm 1.
    """
    if min(steps, resample, jump) < 1:
        raise ValueError(f"steps, resample and jump are at least 1, got {steps}, {resample} and {jump}")
    if (known is None) != (known_mask is None):
        raise ValueError("known pixels come with their mask: give both known and known_mask, or neither")
    if generators is None and (method == "ddpm" or resample > 1):
        raise ValueError("ddpm and resampling draw fresh noise: give one generator for each image")
    if generators is not None and len(generators) != len(noise):
        raise ValueError(f"each image has its own generator, got {len(generators)} for {len(noise)} images")

    def fresh_noise() -> Tensor:
        return draw_noise(noise.shape[1:], generators or (), noise.device)

    batch = noise.shape[0]
    times = torch.linspace(1.0, 0.0, steps + 1, device=noise.device)
    x = noise
    x0_before: Tensor | None = None
    for i, j in _path(steps, resample if known is not None else 1, jump):
        t, t_next = times[i].expand(batch), times[j].expand(batch)
        if j < i:  # back up, to harmonise known and new pixels once more
            x = schedule.renoise(x, t, t_next, fresh_noise())
            x0_before = None
            continue
        if known is not None and known_mask is not None:
            # On a deterministic path the known pixels keep the noise that they began with: their own exact trajectory.
            known_noise = noise if generators is None or method != "ddpm" else fresh_noise()
            x = known_mask * schedule.add_noise(known, t, known_noise) + (1 - known_mask) * x
        x0 = denoise(x, t)
        direction = x0
        if method == "dpmpp_2m" and x0_before is not None and j < steps:
            direction = _extrapolate(x0, x0_before, schedule, times[i - 1 : i + 2])
        x0_before = x0
        # The last step is the posterior's mean, without noise, for every method: at t = 0 the schedule still has a
        # little sigma, which is not to stay in the image.
        eta = 1.0 if method == "ddpm" or j == steps else 0.0
        x = _step(x, direction, schedule, t, t_next, eta)
        if method == "ddpm" and j < steps:
            x = x + _posterior_sigma(schedule, t, t_next) * fresh_noise()
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


def _one_minus_ratio(schedule: Schedule, t: Tensor, t_next: Tensor) -> Tensor:
    """Returns c = 1 - snr(t) / snr(t_next), (B, 1, 1, 1): the share of the noise that a step renews."""
    return -torch.expm1(schedule.log_snr(t) - schedule.log_snr(t_next)).reshape(-1, 1, 1, 1)


def _posterior_sigma(schedule: Schedule, t: Tensor, t_next: Tensor) -> Tensor:
    sigma_next = schedule.alpha_sigma(t_next)[1]
    return sigma_next * _one_minus_ratio(schedule, t, t_next).sqrt()


def _step(x: Tensor, x0: Tensor, schedule: Schedule, t: Tensor, t_next: Tensor, eta: float) -> Tensor:
    """Returns the mean of x at t_next; eta = 0 keeps all of x's noise, eta = 1 leaves room for the posterior's."""
    alpha, sigma = schedule.alpha_sigma(t)
    alpha_next, sigma_next = schedule.alpha_sigma(t_next)
    eps = (x - alpha * x0) / sigma
    kept = (1 - eta**2 * _one_minus_ratio(schedule, t, t_next)).sqrt()
    return alpha_next * x0 + sigma_next * kept * eps


def _extrapolate(x0: Tensor, x0_before: Tensor, schedule: Schedule, times: Tensor) -> Tensor:
    """Returns the second-order x0 of DPM-Solver++ (2M) from the last two, at the times before, now and next."""
    log_snr = schedule.log_snr(times)
    ratio = (log_snr[2] - log_snr[1]) / (log_snr[1] - log_snr[0]) / 2
    return (1 + ratio) * x0 - ratio * x0_before
