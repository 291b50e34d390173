"""The losses that segmentation networks are trained with."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

DISTANCE_WEIGHT = 5.0


def dice_cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Class-weighted cross-entropy, plus 1 - the mean soft Dice of the classes without the background.

    Args:
        logits: Logits, (B, C, H, W), the background first.
        labels: Class numbers, (B, H, W), int64.
        class_weights: Weights of the cross-entropy, (C,); all 1 if None.

    Returns:
        The loss, (). Dice is computed over the whole batch, so that a crop may lack a class.

    Source: Isensee et al. 2021, 'nnU-Net'; soft Dice of Milletari et al. 2016, 'V-Net', without squares.
    """
    shares = logits.softmax(dim=1)[:, 1:]
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(shares.dtype)
    common = (shares * truth).sum(dim=(0, 2, 3))
    dice = (2 * common + 1e-5) / (shares.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 1e-5)
    return F.cross_entropy(logits, labels, class_weights) + 1 - dice.mean()


def segmentation_loss(outputs: Tensor, targets: Sequence[Tensor], class_weights: Tensor | None = None) -> Tensor:
    """`dice_cross_entropy`, plus the weighted mean squared error of the distance map if one is learnt.

    Args:
        outputs: Logits and, in the last channel, the predicted distance map if one is learnt: (B, C or C + 1, H, W).
        targets: Class numbers, (B, H, W), int64; and the true distance map, (B, H, W), if one is learnt.
        class_weights: As for `dice_cross_entropy`.

    Returns:
        The loss, ().
    """
    if len(targets) == 1:
        return dice_cross_entropy(outputs, targets[0], class_weights)
    labels, distances = targets
    error = F.mse_loss(outputs[:, -1], distances)
    return dice_cross_entropy(outputs[:, :-1], labels, class_weights) + DISTANCE_WEIGHT * error
