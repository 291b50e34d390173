"""Counts of a training run, kept on the device so that a step never waits for an answer from it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """The counts as the host last read them.

    Args:
        finite: Steps done, of this process's run.
        skipped: Steps skipped in all for not being finite.
        skipped_in_a_row: Those since the last step that was done.
        loss: Mean loss of the steps done since the window was opened; nan if there are none.
        grad_norm: Mean norm of their gradients, before it was clipped.
    """

    finite: int
    skipped: int
    skipped_in_a_row: int
    loss: float
    grad_norm: float


class Tally:
    """Counts steps, and adds up their losses, on a device."""

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(4, dtype=torch.long, device=device)  # finite, skipped, skipped in a row, in window
        self.sums = torch.zeros(2, device=device)  # loss and norm, in window

    def add(self, loss: Tensor, grad_norm: Tensor, finite: Tensor) -> None:
        """Counts a step; all are scalars on the device, `finite` a bool."""
        done = finite.long()
        self.counts += torch.stack([done, 1 - done, 1 - done, done])
        self.counts[2] *= 1 - done
        values = torch.stack([loss, grad_norm])
        self.sums += torch.where(finite, values, torch.zeros_like(values))

    def read(self) -> Reading:
        """Waits for the device, and returns the counts."""
        finite, skipped, in_a_row, in_window = self.counts.tolist()
        loss, norm = (value / in_window if in_window else float("nan") for value in self.sums.tolist())
        return Reading(finite, skipped, in_a_row, loss, norm)

    def open_window(self) -> None:
        """Starts the means anew."""
        self.counts[3].zero_()
        self.sums.zero_()

    def end_row(self) -> None:
        """Forgets how many steps were skipped in a row."""
        self.counts[2].zero_()

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts as tensors on the CPU."""
        return {"counts": self.counts.cpu(), "sums": self.sums.cpu()}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Takes the counts of `state_dict`."""
        self.counts.copy_(values["counts"])
        self.sums.copy_(values["sums"])
