from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from urcdm import (
    CanvasError,
    LocalPatchExecutor,
    PatchTask,
    RunSettings,
    SampleEvent,
    SlideRun,
    Urcdm,
)
from wsi_tiling import TissueRule

SIZE_L0 = (96, 64)
MakeModel = Callable[..., Urcdm]


class Dies(LocalPatchExecutor):
    """An executor that fails after some batches."""

    def __init__(self, model: Urcdm, batches: int) -> None:
        super().__init__(model)
        self.left = batches

    def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
        if self.left == 0:
            raise ConnectionError("the worker is lost")
        self.left -= 1
        return super().run(tasks)


def draw(
    model: Urcdm, folder: Path, batch: int = 8, executor: LocalPatchExecutor | None = None, **settings: int
) -> tuple[NDArray[np.uint8], list[SampleEvent]]:
    run = SlideRun.open(folder, model, RunSettings(SIZE_L0, **settings), resume=True)
    events = list(run.sample(executor or LocalPatchExecutor(model), batch))
    picture = run.levels()[-1].picture
    return picture.picture(0, 0, *picture.size_px), events


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model()


@pytest.fixture(scope="module")
def slide(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    return draw(model, tmp_path_factory.mktemp("slide"))[0]


def test_a_seed_is_a_slide(model: Urcdm, slide: NDArray[np.uint8], tmp_path: Path) -> None:
    assert (draw(model, tmp_path / "again")[0] == slide).all()
    other = draw(model, tmp_path / "other", seed=1)[0]
    assert np.abs(other.astype(int) - slide).mean() > 5


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (3, 2), (8, 3)])
def test_neither_the_batch_nor_its_parts_change_the_slide(
    model: Urcdm, slide: NDArray[np.uint8], tmp_path: Path, batch: int, parts: int
) -> None:
    other, _ = draw(model, tmp_path, batch, LocalPatchExecutor(model, parts=parts))
    assert np.abs(other.astype(int) - slide).max() <= 1


@pytest.mark.parametrize("batches", [0, 1, 4, 9])
def test_a_run_that_broke_off_resumes_to_the_same_pixels(
    model: Urcdm, slide: NDArray[np.uint8], tmp_path: Path, batches: int
) -> None:
    with pytest.raises(ConnectionError):
        draw(model, tmp_path, executor=Dies(model, batches))
    resumed, events = draw(model, tmp_path)
    assert np.abs(resumed.astype(int) - slide).max() <= 1
    started_with = {(event.level, event.image_px): event.done for event in reversed(events)}
    assert sum(started_with.values()) == 0 if batches == 0 else sum(started_with.values()) > 0


def test_progress_counts_every_stage_to_its_end(model: Urcdm, tmp_path: Path) -> None:
    _, events = draw(model, tmp_path)
    last = {(event.level, event.image_px): event for event in events}
    assert list(last) == [("low", 8), ("low", 16), ("medium", 8), ("medium", 16), ("high", 16)]
    assert all(event.done == event.total for event in last.values())
    assert last["high", 16].total == len(model.geometry(SIZE_L0)[-1].grid)


@pytest.mark.parametrize("settings", [{"seed": 1}, {"steps": 2}, {"resample": 2}])
def test_another_slide_is_not_drawn_on_the_same_canvas(model: Urcdm, tmp_path: Path, settings: dict[str, int]) -> None:
    SlideRun.open(tmp_path, model, RunSettings(SIZE_L0))
    with pytest.raises(CanvasError, match=next(iter(settings))):
        draw(model, tmp_path, **settings)


def test_another_model_does_not_go_on_with_a_canvas(model: Urcdm, make_model: MakeModel, tmp_path: Path) -> None:
    SlideRun.open(tmp_path, model, RunSettings(SIZE_L0))
    with pytest.raises(CanvasError, match="model = "):
        draw(make_model(weights=1), tmp_path)


def test_patches_without_tissue_are_not_sampled(make_model: MakeModel, tmp_path: Path) -> None:
    class Counts(LocalPatchExecutor):
        def __init__(self, model: Urcdm) -> None:
            super().__init__(model)
            self.sampled: list[PatchTask] = []

        def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
            self.sampled.extend(tasks)
            return super().run(tasks)

    model = make_model(tissue=TissueRule(min_hue=1.0))
    executor = Counts(model)
    _, events = draw(model, tmp_path, executor=executor)
    assert {task.level for task in executor.sampled} == {0}
    assert events[-1].skipped == len(model.geometry(SIZE_L0)[-1].grid)


def test_patches_hold_their_neighbours_where_they_overlap(model: Urcdm, tmp_path: Path) -> None:
    """A network that knows nothing still joins: patches agree more in their overlap than unrelated pixels do."""
    draw(model, tmp_path)
    level = SlideRun.open(tmp_path, model, RunSettings(SIZE_L0), resume=True).levels()[-1]
    geometry, patches = level.geometry, level.picture
    left, right = patches.store.load((0, 0)), patches.store.load((0, 1))
    overlap = 16 - geometry.grid.xs[1]
    apart = np.abs(left[:, -overlap:].astype(int) - right[:, :overlap]).mean()
    unrelated = np.abs(left[:, -overlap:].astype(int) - right[:, -overlap:]).mean()
    assert apart < 0.7 * unrelated
