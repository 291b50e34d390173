"""Saves only good states, and goes back to the last one when the weights of a run are lost."""

from pathlib import Path

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.errors import TrainingError
from cdm_core.training.state import TrainingState, restore_weights, save_state
from cdm_core.training.tally import Reading

MAX_SKIPPED_IN_A_ROW = 20
MAX_RESTORED_IN_A_ROW = 2


class Guard:
    """Saves the state of a run while it is good, and goes back to it when it is lost.

    Args:
        path: The state's file.
        state: Of the run.
        config: The stage.
        training: How it is trained.
        saved_step: Step of the file, if it is this run's.
        writes: Whether this process is the one that writes.
    """

    def __init__(
        self,
        path: Path,
        state: TrainingState,
        config: StageConfig,
        training: TrainingConfig,
        *,
        saved_step: int | None,
        writes: bool,
    ) -> None:
        self.path, self.state, self.config, self.training = path, state, config, training
        self.saved_step, self.writes = saved_step, writes
        self.is_waiting = False
        self._restored_in_a_row, self._finite_at_restore = 0, -1

    def restore_if_lost(self, reading: Reading, *, thorough: bool) -> int | None:
        """Goes back to the weights on disk if these are lost; the step number goes on. All processes call it alike.

        Args:
            reading: The counts now.
            thorough: Look at the weights too, and not only at the count of skipped steps.

        Returns:
            The step of the weights, if they were restored.

        Raises:
            TrainingError: There is no state to go back to, or going back did not help before.
        """
        reason = f"{reading.skipped_in_a_row} steps in a row without a finite loss"
        if reading.skipped_in_a_row < MAX_SKIPPED_IN_A_ROW:
            if not thorough or self.state.is_finite():
                return None
            reason = "the weights are not finite"
        helped = reading.finite > self._finite_at_restore
        self._restored_in_a_row = 0 if helped else self._restored_in_a_row
        folder = self.path.parent
        if self.saved_step is None:
            raise TrainingError(f"{folder}: {reason}, and no state to go back to; lower learning_rate")
        if self._restored_in_a_row == MAX_RESTORED_IN_A_ROW:
            raise TrainingError(f"{folder}: went back {MAX_RESTORED_IN_A_ROW} times, and {reason}; lower learning_rate")
        from_step = restore_weights(self.path, self.state)
        self._restored_in_a_row, self._finite_at_restore = self._restored_in_a_row + 1, reading.finite
        return from_step

    def save_if_good(self, reading: Reading, *, last: bool = False) -> None:
        """Saves the state, unless steps were just skipped or the weights are not finite: then it waits to be asked.

        After the last step it is saved even so: the weights are finite, and no further step will show more.

        Raises:
            CheckpointError: It cannot be written.
        """
        good = (reading.skipped_in_a_row == 0 or last) and self.state.is_finite()
        self.is_waiting = not good
        if good:
            if self.writes:
                save_state(self.path, self.state, self.config, self.training)
            self.saved_step = self.state.step

    def save_at_exit(self) -> None:
        """Saves what is not saved yet, if the last step was finished and is good.

        Raises:
            CheckpointError: It cannot be written.
        """
        if self.writes and self.state.is_whole and self.state.step > (self.saved_step or 0):
            self.save_if_good(self.state.tally.read())
