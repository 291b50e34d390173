"""The scale that a file states, if it is plausible."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_COARSEST_MPP = 20.0
_MOST_OBLONG = 1.05


@dataclass(frozen=True)
class StatedMpp:
    """The scale that a file states.

    Attributes:
        mpp: Micrometres a pixel, None if unknown.
        reason: Why the file's numbers are not taken, to follow its path in a message; None if it states none.
    """

    mpp: float | None = None
    reason: str | None = None


def believable_mpp(values: Iterable[float]) -> StatedMpp:
    """The scale from the values that a file states for x and y, or one of them, micrometres a pixel.

    A scale coarser than 20 micrometres is that of a printer or a screen, and counts as not stated. Pixels that are more
    than 5 % longer one way than the other have no single scale.
    """
    stated = [value for value in values if math.isfinite(value) and value > 0]
    if not stated or min(stated) > _COARSEST_MPP:
        return StatedMpp()
    if max(stated) > _MOST_OBLONG * min(stated):
        sides = " x ".join(f"{value:.4g}" for value in stated)
        return StatedMpp(reason=f"states pixels of {sides} um, which are no squares")
    return StatedMpp(sum(stated) / len(stated))
