"""Objectives: a network predicts the noise, the velocity v, or the image; each with its loss weights."""

from typing import Literal

import torch
from torch import Tensor

from cdm_core.diffusion.schedule import Schedule

Objective = Literal["noise", "v", "x0"]
LossWeight = Literal["none", "p2", "min_snr", "truncated_snr"]

P2_GAMMA, P2_K = 0.5, 1.0
MIN_SNR_GAMMA = 5.0


def training_target(objective: Objective, schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Returns what the network should predict for x_t = alpha x0 + sigma noise; all (B, C, H, W), t is (B,).

    Source: Ho et al. 2020 (noise); Salimans and Ho 2022, 'Progressive distillation', appendix D (v).
    """
    if objective == "noise":
        return noise
    if objective == "x0":
        return x0
    alpha, sigma = schedule.alpha_sigma(t)
    return alpha * noise - sigma * x0


def predicted_x0(objective: Objective, schedule: Schedule, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Returns the image that a network's prediction stands for; all (B, C, H, W), t is (B,).

    Source: as `training_target`.
    """
    if objective == "x0":
        return prediction
    alpha, sigma = schedule.alpha_sigma(t)
    if objective == "noise":
        return (x_t - sigma * prediction) / alpha.clamp(min=1e-8)  # alpha underflows at t = 1
    return alpha * x_t - sigma * prediction


def loss_weight(weight: LossWeight, objective: Objective, log_snr: Tensor) -> Tensor:
    """Returns the weight of the squared error of a prediction, (B,), from the log-SNR, (B,).

    'p2' holds back what is nearly clean, whatever the objective; 'min_snr' weighs the error of the image by the SNR up
    to a limit, and 'truncated_snr' by the SNR but at least 1, which for each objective is another factor on its own
    error.

    Source: Choi et al. 2022, 'Perception prioritized training', equation 8; Hang et al. 2023, 'Efficient diffusion
        training via min-SNR weighting', section 3.4; Salimans and Ho 2022, 'Progressive distillation', section 4.
    """
    if weight == "none":
        return torch.ones_like(log_snr)
    snr = log_snr.exp()
    if weight == "p2":
        return (P2_K + snr) ** -P2_GAMMA
    clipped = snr.clamp(max=MIN_SNR_GAMMA) if weight == "min_snr" else snr.clamp(min=1.0)
    return {"noise": clipped / snr, "v": clipped / (snr + 1), "x0": clipped}[objective]
