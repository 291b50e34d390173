"""Sampling of one stage of one level: first the patches without tissue, then the others in order or jointly."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from urcdm.execution.executors import PatchExecutor
from urcdm.execution.tasks import PatchTask
from urcdm.execution.work import sample_patches
from urcdm.layout.order import Position
from urcdm.sampling.joint import JointStage
from urcdm.sampling.level_run import LevelRun


@dataclass(frozen=True)
class SampleEvent:
    """Progress of one stage of one level.

    Args:
        level: Name of the level.
        image_px: Side of the stage's images.
        done: Patches that are sampled already.
        total: Patches to sample.
        skipped: Patches without tissue, which take their parent's image.
    """

    level: str
    image_px: int
    done: int
    total: int
    skipped: int


def sample_level_stage(level: LevelRun, index: int, executor: PatchExecutor, batch: int) -> Iterator[SampleEvent]:
    """Samples the patches of a stage that its canvas does not have yet.

    Args:
        level: The level.
        index: Number of the stage, from 0; the stages before it are finished.
        executor: Runs the batches.
        batch: Most patches of a batch.

    Yields:
        Progress at the start, and after every batch.
    """
    config, picture, skipped = level.config.stages[index], level.stage(index), level.skipped
    for position in skipped:
        if position not in picture.done:
            picture.write(position, level.enlarged_parent(position, config.image_px))
    patches = len(level.geometry.grid)
    done, total = len(picture.done) - len(skipped), patches - len(skipped)
    event = SampleEvent(level.geometry.level.name, config.image_px, done, total, len(skipped))
    yield event
    if len(picture.done) < patches:
        jointly = level.settings.joint and event.total > 1 and not config.unet.in_latents
        run = JointStage(level, index).run(executor, batch) if jointly else _in_order(level, index, executor, batch)
        for done in run:
            yield replace(event, done=done)


def _in_order(level: LevelRun, index: int, executor: PatchExecutor, batch: int) -> Iterator[int]:
    """Samples patches as they become ready; yields how many are done."""
    picture, settings, skipped = level.stage(index), level.settings, len(level.skipped)

    def task(position: Position) -> PatchTask:
        known = known_mask = None
        if len(level.geometry.grid) > 1:
            known, known_mask = picture.held(position, level.order.held(position))
        return replace(
            level.conditions(index, position),
            known=known,
            known_mask=known_mask,
            steps=settings.steps,
            resample=settings.resample,
        )

    for finished in sample_patches(executor, level.order.front(picture.done), task, batch):
        for position, pixels in finished:
            picture.write(position, pixels)
        yield len(picture.done) - skipped
