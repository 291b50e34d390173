"""What a network predicts: the noise, the velocity v, or the image, and how each gives the image."""

from typing import Literal

from torch import Tensor

from cdm_core.schedule import Schedule

Objective = Literal["noise", "v", "x0"]


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
