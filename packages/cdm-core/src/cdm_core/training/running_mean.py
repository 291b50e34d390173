"""The running mean (EMA) of the weights, moved without waiting for the device."""

import torch
from torch import Tensor


@torch.no_grad()
def update_ema(averages: list[Tensor], weights: list[Tensor], count: Tensor, decay: float, finite: Tensor) -> None:
    """Moves running means towards the weights, in place, unless `finite`, a bool () on the device, is false.

    Young averages forget faster, so that the random start is lost. `AveragedModel.update_parameters` would wait for the
    device in every step.

    Args:
        averages: The running means.
        weights: The weights.
        count: How often the means were moved, (); is counted up.
        decay: Share that a mean keeps of itself, once it is old.
        finite: Whether to move them.
    """
    n = count.float()
    kept = ((1 + n) / (10 + n)).clamp(max=decay)
    kept = torch.where(count == 0, torch.zeros_like(kept), kept)
    if count.is_cuda:
        _pull(averages, weights, 1 - kept, (~finite).float())
        count += finite
        return
    change = list(torch._foreach_sub(weights, averages))
    torch._foreach_mul_(change, (1 - kept) * finite)
    torch._foreach_add_(averages, change)
    count += finite


def _pull(averages: list[Tensor], weights: list[Tensor], share: Tensor, left_alone: Tensor) -> None:
    """Moves means by a share of the way to the weights, in one pass over memory and without a copy of the weights.

    It is a step of SGD on half the squared distance between them, whose gradient, mean - weight, is what its kernel
    makes of weights that are maximised (-weight) and a weight decay of 1 (+ mean). `torch._foreach_lerp_` would want
    the share on the host.

    Args:
        averages: The means.
        weights: The weights.
        share: Share of the way, float32 ().
        left_alone: 1 to leave the means as they are, float32 ().
    """
    torch._fused_sgd_(
        averages,
        weights,
        [],
        weight_decay=1.0,
        momentum=0.0,
        lr=share,
        dampening=0.0,
        nesterov=False,
        maximize=True,
        is_first_step=False,
        found_inf=left_alone,
    )
