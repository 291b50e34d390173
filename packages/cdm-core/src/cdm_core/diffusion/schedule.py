"""Noise schedules in continuous time: t in [0, 1], from clean to noise."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["cosine", "linear", "scaled_linear"]


@dataclass(frozen=True)
class Schedule:
    """A variance-preserving forward process, x_t = alpha x_0 + sigma eps, given by its log signal-to-noise ratio.

    Args:
        name: 'cosine' (Nichol and Dhariwal 2021), 'linear' (Ho et al. 2020, in continuous time) or 'scaled_linear'
            (Rombach et al. 2022, with the constants of Stable Diffusion), which keeps some signal at t = 1.
    """

    name: ScheduleName = "cosine"

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns log(alpha^2 / sigma^2) at the times t in [0, 1], in the shape of t.

        The constants are those of imagen-pytorch, so that its networks see the times they were trained with.

        Source: Nichol and Dhariwal 2021, equation 17; Kingma et al. 2021, section 3.1; Rombach et al. 2022, 'High-
            resolution image synthesis with latent diffusion models', appendix E.
        """
        if self.name == "cosine":
            inverse_snr = torch.cos((t + 0.008) / 1.008 * (math.pi / 2)) ** -2 - 1
            return -torch.log(inverse_snr.clamp(min=1e-5))
        if self.name == "linear":
            return -torch.log(torch.expm1(1e-4 + 10 * t**2))
        # The sum of the betas of the steps 0 to k, (start + rise i)^2 each, for any k between two steps too.
        k, start, rise = t * 999, math.sqrt(0.00085), (math.sqrt(0.012) - math.sqrt(0.00085)) / 999
        total = (k + 1) * (start**2 + start * rise * k + rise**2 * k * (2 * k + 1) / 6)
        return -torch.log(torch.expm1(total))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns alpha and sigma at times t, each (B, 1, 1, 1) for t of shape (B,)."""
        log_snr = self.log_snr(t).reshape(-1, 1, 1, 1)
        return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()

    def add_noise(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Returns x_t for x0 and standard normal noise, both (B, C, H, W), at times t, (B,)."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x0 + sigma * noise

    def renoise(self, x_s: Tensor, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Takes a sample from time s back up to the noisier time t.

        Args:
            x_s: Sample at time s, (B, C, H, W).
            s: Times in [0, 1], (B,).
            t: Times in [0, 1], (B,), with s <= t.
            noise: Standard normal, (B, C, H, W).

        Returns:
            x_t, distributed as the forward process started from x_s.

        Source: Kingma et al. 2021, 'Variational Diffusion Models', appendix A; used by RePaint, algorithm 1.
        """
        alpha_s, sigma_s = self.alpha_sigma(s)
        alpha_t, sigma_t = self.alpha_sigma(t)
        alpha_ts = alpha_t / alpha_s
        return alpha_ts * x_s + (sigma_t**2 - alpha_ts**2 * sigma_s**2).clamp(min=0).sqrt() * noise
