"""The record of a run in its canvas: the time of each stage, and the files that the run writes."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from run_folder import whole_file
from urcdm.errors import CanvasError
from urcdm.sampling.stage_run import SampleEvent

RECORD = "record.json"


@dataclass
class StageTime:
    """The time of one stage, summed over all sittings: the times that the run was started or resumed.

    Args:
        level: Name of the level.
        image_px: Side of the stage's images.
        patches: Patches that are sampled.
        skipped: Patches without tissue, which take their parent's picture.
        timed: Number of sampled patches that the time covers; batches that were lost in a kill do not count.
        seconds: The time.
    """

    level: str
    image_px: int
    patches: int
    skipped: int
    timed: int = 0
    seconds: float = 0.0

    @property
    def seconds_per_patch(self) -> float | None:
        """The time of a patch; None if none is known."""
        return self.seconds / self.timed if self.timed else None


@dataclass
class RunRecord:
    """The record of a run.

    Args:
        stages: Time by stage, in the order in which they are sampled.
        sittings: Number of times that the run was started or resumed.
        files: Names of the files that the run writes, or may have written before it was stopped.
    """

    stages: list[StageTime] = field(default_factory=list)
    sittings: int = 1
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last: float | None = None
        self._done: dict[tuple[str, int], int] = {}

    @classmethod
    def load(cls, canvas: Path) -> "RunRecord":
        """Reads the record of an interrupted run from its canvas; a new one if there is none.

        Raises:
            CanvasError: It is damaged.
        """
        path = canvas / RECORD
        if not path.exists():
            return cls()
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            stages = [StageTime(**stage) for stage in saved["stages"]]
            return cls(stages, int(saved["sittings"]), [str(name) for name in saved["files"]])
        except (ValueError, TypeError, KeyError) as error:
            raise CanvasError(f"{path} is damaged ({error}); delete it: only the times of the run are lost") from None

    def continued(self) -> "RunRecord":
        """The record for the next sitting."""
        return replace(self, sittings=self.sittings + 1)

    def note(self, event: SampleEvent, canvas: Path) -> None:
        """Adds the time since the previous event to an event's stage, and saves the record in the canvas.

        The first event of a sitting adds no time, because loading a model belongs to no stage.
        """
        now, key = time.monotonic(), (event.level, event.image_px)
        stage = next((stage for stage in self.stages if (stage.level, stage.image_px) == key), None)
        if stage is None:
            stage = StageTime(event.level, event.image_px, event.total, event.skipped)
            self.stages.append(stage)
        sampled = event.done - self._done.get(key, event.done)
        stage.timed = min(stage.timed + sampled, stage.patches)
        stage.seconds += now - (self._last or now)
        self._last, self._done[key] = now, event.done
        self._save(canvas)

    def claim(self, files: Iterable[Path], canvas: Path) -> None:
        """Records the files that the run is about to write; it may replace them when it is resumed."""
        self.files = [path.name for path in files]
        self._save(canvas)

    def _save(self, canvas: Path) -> None:
        with whole_file(canvas / RECORD) as partial:
            partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
