"""The form of a metric that `pfid.evaluate` can compute."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pfid.device import Device


class Metric(Protocol):
    """A metric of two sets of features; its settings are its fields."""

    @property
    def title(self) -> str:
        """Names of its values, for the note where it is left out."""

    @property
    def least_images(self) -> int:
        """Images that it takes on each side; with fewer, `evaluate` leaves it out."""

    def measure(
        self, *, real: NDArray[Any], fake: NDArray[Any], rng: np.random.Generator, device: Device
    ) -> dict[str, float]:
        """Returns its values by their names, which say the settings.

        Args:
            real: Features of the real images, (N, D).
            fake: Features of the generated images, (M, D).
            rng: Source of random subsets.
            device: Device to compute on; None for the CPU.
        """
