"""Training students one after the other, each the teacher of the next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from torch import nn

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.distillation.teacher import DistillationMethod, Teacher, student_of
from cdm_core.errors import ConfigError
from cdm_core.stages.examples import Examples
from cdm_core.stages.widen import with_guidance_input
from cdm_core.training.loop import train_stage
from cdm_core.training.monitor import TrainingEvent
from cdm_core.training.state import check_no_run, load_trained


@dataclass(frozen=True)
class DistillationEvent:
    """A step of a student's training; `steps` are those that the student takes."""

    steps: int
    training: TrainingEvent


def distill_stage(
    unet: nn.Module,
    config: StageConfig,
    training: TrainingConfig,
    examples: Examples,
    out_dir: Path,
    *,
    steps: Sequence[int],
    method: DistillationMethod = "progressive",
    parts: int = 8,
    guidance: tuple[float, float] | None = None,
    validation: Examples | None = None,
    device: Literal["cpu", "auto"] = "auto",
    resume: bool = False,
) -> Iterator[DistillationEvent]:
    """Distils a stage, student after student, each the teacher of the next; the last is the result.

    Every student has a folder in `out_dir`, such as `8-steps`, as of `train_stage`, and starts from its teacher's
    weights. `load_trained(out_dir / "8-steps" / "state.pt", student_of(config, 8))` gives its network.

    Args:
        unet: The first teacher.
        config: Its stage.
        training: How each student is trained; 'truncated_snr' is the loss weight of the paper.
        examples: The data, as for training.
        out_dir: Folder of the run; made if missing.
        steps: Of the students, one after the other; see `students_of`. With 'consistency' one is enough.
        method: How they are taught, see `Teacher`.
        parts: See `Teacher`.
        guidance: See `student_of`.
        validation: Held-out data.
        device: 'auto' takes an accelerator where there is one.
        resume: Go on with what is in `out_dir`. Without it, a folder that holds a student is refused.

    Yields:
        An event a step.

    Raises:
        ConfigError: There is no student, or the stage cannot have such a one, see `student_of`; or a student does not
            take fewer steps than the one before, with 'progressive' half of them.
        ValueError, CheckpointError, TrainingError: As of `train_stage`.
    """
    if not steps or parts < 1:
        raise ConfigError(f"distillation wants steps of at least one student and parts of at least 1, got {parts}")
    for teacher_steps, student_steps in pairwise(steps):
        if method == "progressive" and teacher_steps != 2 * student_steps:
            raise ConfigError(f"a student takes half its teacher's steps, got {student_steps} after {teacher_steps}")
        if teacher_steps <= student_steps:
            raise ConfigError(
                f"a student takes fewer steps than its teacher, got {student_steps} after {teacher_steps}"
            )
    planned = config
    for count in steps:
        planned = student_of(planned, count, guidance=guidance if planned is config else None)
        if not resume:  # before the first is trained, which takes long
            check_no_run(out_dir / f"{count}-steps")
    teacher_config, start = config, unet
    if guidance is not None:
        start = with_guidance_input(config, student_of(config, steps[0], guidance=guidance), unet)
    for count in steps:
        student = student_of(teacher_config, count, guidance=guidance if teacher_config is config else None)
        place = out_dir / f"{count}-steps"
        for event in train_stage(
            student,
            training,
            examples,
            place,
            validation=validation,
            device=device,
            initial=start,
            teacher=Teacher(unet, teacher_config, count, method, parts),
            resume=resume,
        ):
            yield DistillationEvent(count, event)
        unet, _ = load_trained(place / "state.pt", student)
        teacher_config, start = student, unet
