"""With networks that return the upscaled centre of their context, the slide is its own first picture, enlarged.

The first picture is a map of its own coordinates: red grows with x, green with y. A pixel of the slide that lies in the
wrong place gives itself away by its colour.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from urcdm import Level, PatchTask, RunSettings, SerialPatchExecutor, SlideRun, SlideSizeError, Urcdm
from urcdm.layout.geometry import LevelGeometry, plan_geometry
from wsi_tiling import TissueRule

pytestmark = pytest.mark.once

GREY_A_PIXEL = 12.0
QUARTERS = (Level("low", 256, 16), Level("medium", 64, 16), Level("high", 16, 16))
UNEVEN = (Level("low", 400, 16), Level("medium", 65, 16), Level("high", 12, 16))  # as in the study: no whole zoom


class MapMaker(SerialPatchExecutor):
    """Draws the map at the first level, and at the others what the context shows of the patch's own place."""

    def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
        return [self._map(task) if task.context is None else task.context[..., 3:] for task in tasks]

    def _map(self, task: PatchTask) -> NDArray[np.uint8]:
        side = 16 if task.stage else 8
        ramp = (np.arange(side) + 0.5) * (16 / side) * GREY_A_PIXEL
        red, green = np.meshgrid(ramp, ramp)
        return np.rint(np.stack([red, green, np.full_like(red, 90)], axis=-1)).astype(np.uint8)


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Urcdm]) -> Urcdm:
    return make_model()


def draw(model: Urcdm, size_l0: tuple[int, int], folder: Path) -> tuple[NDArray[np.uint8], LevelGeometry]:
    run = SlideRun.open(folder, model, RunSettings(size_l0))
    for _ in run.sample(MapMaker()):
        pass
    level = run.levels()[-1]
    return level.picture.picture(0, 0, *level.geometry.canvas_px), level.geometry


@pytest.mark.parametrize("levels", [QUARTERS, UNEVEN], ids=["quarters", "uneven"])
@pytest.mark.parametrize(("overlap", "size_l0"), [(0, (200, 131)), (0.125, (120, 240)), (0.25, (200, 131))])
def test_every_pixel_of_the_slide_lies_where_its_parent_has_it(
    levels: tuple[Level, ...],
    overlap: float,
    size_l0: tuple[int, int],
    tmp_path: Path,
    make_model: Callable[..., Urcdm],
) -> None:
    model = make_model(levels, overlap)
    slide, geometry = draw(model, size_l0, tmp_path / "canvas")

    low, medium, high = levels
    half_a_parent_pixel = 0.5 * medium.scale / low.scale * GREY_A_PIXEL
    for channel, axis in ((0, 1), (1, 0)):
        places_l0 = (np.arange(slide.shape[axis]) + 0.5) * high.scale
        corner_l0 = (size_l0[channel] - low.field_l0) / 2
        wanted = (places_l0 - corner_l0) / low.scale * GREY_A_PIXEL
        found = slide[..., channel].astype(float)
        error = np.abs(found - (wanted[None, :] if axis == 1 else wanted[:, None]))
        assert error.max() <= half_a_parent_pixel + 1.5  # each of three pictures is rounded to whole grey values
    assert abs(int(slide[..., 2].min()) - 90) <= 1  # no patch is blank, no fill bleeds in
    assert geometry.canvas_px[0] * high.scale >= size_l0[0]


def test_patches_without_tissue_show_their_parent_at_the_same_place(
    tmp_path: Path, make_model: Callable[..., Urcdm]
) -> None:
    nothing_is_tissue = TissueRule(min_hue=1.0)
    sampled, _ = draw(make_model(), (200, 131), tmp_path / "sampled")
    skipped, _ = draw(make_model(tissue=nothing_is_tissue), (200, 131), tmp_path / "skipped")
    assert np.abs(sampled.astype(int) - skipped).max() <= 1


@given(width=st.integers(1, 256), height=st.integers(1, 256), overlap=st.sampled_from([0, 0.125, 0.25, 0.5]))
def test_patches_begin_at_whole_pixels_of_every_stage_and_cover_the_slide(
    width: int, height: int, overlap: float, model: Urcdm
) -> None:
    cascades = tuple(cascade.config for cascade in model.cascades)
    geometries = plan_geometry(replace(model.config, overlap=overlap), cascades, (width, height))
    for geometry, cascade in zip(geometries, cascades, strict=True):
        for stage in cascade.stages:
            shrink = geometry.level.image_px // stage.image_px
            assert all(origin % shrink == 0 for origin in (*geometry.grid.xs, *geometry.grid.ys, *geometry.canvas_px))
        x0, y0, _, _ = geometry.box_l0(0, 0)
        _, _, x1, y1 = geometry.box_l0(geometry.grid.rows - 1, geometry.grid.cols - 1)
        assert max(x0, y0) <= 0
        assert x1 >= width
        assert y1 >= height


@pytest.mark.parametrize("size_l0", [(0, 10), (257, 10), (10, 300)])
def test_a_slide_larger_than_the_first_field_is_refused(size_l0: tuple[int, int], model: Urcdm) -> None:
    with pytest.raises(SlideSizeError, match="1 to 256 px"):
        model.geometry(size_l0)
