"""A slide run as a whole: opened, interrupted, resumed, written, measured."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cdm_core.stages.inference import prepare_for_sampling
from urcdm import CanvasError, LocalPatchExecutor, RunSettings, SlideRun, SlideSizeError, Urcdm
from wsi_tiling import open_slide

SETTINGS = RunSettings((64, 48), seed=3, steps=1)
MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model()


@pytest.fixture(scope="module")
def finished(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> SlideRun:
    run = SlideRun.open(tmp_path_factory.mktemp("finished"), model, SETTINGS)
    for _ in run.sample(LocalPatchExecutor(model), batch=4):
        pass
    return run


def test_a_canvas_is_neither_continued_nor_removed_unasked(model: Urcdm, tmp_path: Path) -> None:
    canvas = tmp_path / "canvas"
    first = SlideRun.open(canvas, model, SETTINGS)
    next(first.sample(LocalPatchExecutor(model)))
    with pytest.raises(CanvasError, match="unfinished run; resume it, or overwrite it"):
        SlideRun.open(canvas, model, SETTINGS)
    with pytest.raises(CanvasError, match="seed = 3, not 4"):
        SlideRun.open(canvas, model, RunSettings((64, 48), seed=4, steps=1), resume=True)
    assert SlideRun.open(canvas, model, SETTINGS, resume=True).record.sittings == 2
    assert SlideRun.open(canvas, model, RunSettings((64, 48), seed=4), overwrite=True).record.sittings == 1


def test_a_slide_that_is_too_large_is_refused_before_a_canvas_is_made(model: Urcdm, tmp_path: Path) -> None:
    with pytest.raises(SlideSizeError, match="got 300 x 20"):
        SlideRun.open(tmp_path / "canvas", model, RunSettings((300, 20)))
    assert not list(tmp_path.iterdir())


def test_the_identity_is_that_of_the_model_as_it_was_loaded(make_model: MakeModel, tmp_path: Path) -> None:
    loaded, prepared = make_model(), make_model()
    settings = RunSettings((16, 16), steps=1, precision="bf16")
    run = SlideRun.open(tmp_path, prepared, settings)
    for cascade in prepared.cascades:
        for unet in cascade.unets:
            prepare_for_sampling(unet, precision="bf16")
    for _ in run.sample(LocalPatchExecutor(prepared)):
        pass
    assert run.fingerprint == loaded.fingerprint() != prepared.fingerprint()
    assert SlideRun.open(tmp_path, loaded, settings, resume=True).fingerprint == run.fingerprint


def test_the_slide_is_written_with_progress_to_its_end(finished: SlideRun, tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    events = list(finished.write(path))
    assert events[-1].done == events[-1].total
    with open_slide(path) as slide:
        assert slide.size_l0 == (64, 48)
        assert slide.mpp == 0.5
    assert finished.writing_seconds > 0


def test_the_report_describes_every_stage(finished: SlideRun) -> None:
    data = json.loads(json.dumps(finished.report_data(model_name="tiny", device="a device")))
    assert (data["model"]["name"], data["model"]["fingerprint"]) == ("tiny", finished.fingerprint)
    assert [level["name"] for level in data["model"]["levels"]] == ["low", "medium", "high"]
    assert (data["device"], data["workers"], data["lost_workers"]) == ("a device", 1, 0)
    assert [(stage["level"], stage["image_px"], stage["batch"]) for stage in data["stages"]] == [
        ("low", 8, 4),
        ("low", 16, 4),
        ("medium", 8, 4),
        ("medium", 16, 4),
        ("high", 16, 4),
    ]
    assert all(stage["timed"] == stage["patches"] for stage in data["stages"])
    assert [level["level"] for level in data["quality"]] == ["low", "medium", "high"]


def test_crops_show_a_field_on_its_level_and_on_the_one_above(finished: SlideRun) -> None:
    overview = np.full((48, 64, 3), 100, np.uint8)
    for crops in finished.crops(overview):
        assert [(crop.parent, crop.level) for crop in crops] == [("low", "medium"), ("medium", "high")]
        for crop in crops:
            assert crop.above.shape == crop.sampled.shape
            x0, y0, x1, y1 = crop.field_l0
            assert 0 <= x0 < x1 <= 64
            assert 0 <= y0 < y1 <= 48


def test_a_canvas_that_is_not_needed_any_more_is_removed(model: Urcdm, tmp_path: Path) -> None:
    run = SlideRun.open(tmp_path / "canvas", model, RunSettings((16, 16), steps=1))
    for _ in run.sample(LocalPatchExecutor(model)):
        pass
    run.remove_canvas()
    assert not list(tmp_path.iterdir())
