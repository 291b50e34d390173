"""Training visits the places that sampling visits."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdm_core import Examples, TrainingConfig
from urcdm import (
    LevelExamples,
    NetworkPlan,
    PatchTask,
    RunSettings,
    SerialPatchExecutor,
    SlideRun,
    TrainingPlan,
    Urcdm,
)
from urcdm.layout.geometry import LevelGeometry
from wsi_tiling import ArraySlide, Image, TissueRule, find_tiles, tissue_mask

pytestmark = pytest.mark.once

MakeModel = Callable[..., Urcdm]
SIZE_L0 = (176, 128)
HIGH, DRAWS = 2, 400
RULE = TissueRule(min_hue=-1, min_saturation=0.1, dilate_px=3)


class Watched(ArraySlide):
    """A slide that remembers what was read of it."""

    reads: list[tuple[float, float, float]]

    def read(self, xy_l0, field_l0, size_px):  # type: ignore[no-untyped-def]
        self.reads.append((*xy_l0, field_l0))
        return super().read(xy_l0, field_l0, size_px)


class RealPixels(SerialPatchExecutor):
    """An executor that gives a slide's own pixels, and remembers what it was asked for."""

    def __init__(self, slide: ArraySlide, model: Urcdm, geometries: Sequence[LevelGeometry]) -> None:
        super().__init__()
        self.slide, self.model, self.geometries = slide, model, geometries
        self.visited: list[tuple[float, float]] = []

    def run(self, tasks: Sequence[PatchTask]) -> list[NDArray[np.uint8]]:
        return [self._read(task) for task in tasks]

    def _read(self, task: PatchTask) -> Image:
        x0, y0, x1, _ = self.geometries[task.level].box_l0(*task.position)
        if task.level == HIGH:
            self.visited.append((x0, y0))
        return self.slide.read((x0, y0), x1 - x0, self.model.cascades[task.level].config.stages[task.stage].image_px)


def examples(model: Urcdm, slide: ArraySlide, level: int, stage: int, rule: TissueRule = RULE) -> LevelExamples:
    networks = tuple(
        NetworkPlan(own.name, config, TrainingConfig(steps=1, batch_size=1))
        for own, cascade in zip(model.config.levels, model.cascades, strict=True)
        for config in cascade.config.stages
    )
    tiles = find_tiles([slide], field_l0=model.config.levels[level].field_l0, rule=rule)
    return LevelExamples(TrainingPlan(model.config, networks), level, stage, tiles, {"ragged": slide}, seed=1)


def places(slide: Watched, data: Examples) -> list[tuple[float, float]]:
    """Corners of the patches that draws give."""
    corners = []
    for draw in range(DRAWS):
        data[draw]
        corners.append(slide.reads[-1][:2])
    return corners


def shares(slide: ArraySlide, corners: Sequence[tuple[float, float]], field: float) -> NDArray[np.float64]:
    """The share of tissue, without the rim round it, of patches at these corners."""
    bare = TissueRule(min_hue=RULE.min_hue, min_saturation=RULE.min_saturation)
    return np.array([tissue_mask(slide.read(corner, field, 16), bare).mean() for corner in corners])


def largest_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Between two distributions: the largest difference of the shares that lie up to some value."""
    values = np.concatenate([one, other])
    return max(abs((one <= value).mean() - (other <= value).mean()) for value in values)


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model(tissue=RULE)


@pytest.fixture(scope="module")
def slide() -> Watched:
    """A ragged piece of tissue and an island on glass."""
    picture = np.full((SIZE_L0[1], SIZE_L0[0], 3), 242, np.uint8)
    y, x = np.mgrid[: SIZE_L0[1], : SIZE_L0[0]]
    ragged = np.hypot(x - 60, y - 70) < 40 + 8 * np.sin(np.arctan2(y - 70, x - 60) * 9)
    picture[ragged | (np.hypot(x - 145, y - 30) < 12)] = (160, 80, 150)
    slide = Watched(picture, mpp=0.5, background=(242, 243, 242), path=Path("ragged.png"))
    slide.reads = []
    return slide


@pytest.fixture(scope="module")
def visited(model: Urcdm, slide: Watched, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    """Corners of the patches of the last level that sampling draws when the levels above are the real slide."""
    executor = RealPixels(slide, model, model.geometry(SIZE_L0))
    list(SlideRun.open(tmp_path_factory.mktemp("canvas"), model, RunSettings(SIZE_L0)).sample(executor))
    return executor.visited


@pytest.fixture(scope="module")
def trained(model: Urcdm, slide: Watched) -> list[tuple[float, float]]:
    return places(slide, examples(model, slide, HIGH, 0))


def test_patches_hold_as_much_tissue_as_those_that_sampling_draws(
    slide: Watched, visited: list[tuple[float, float]], trained: list[tuple[float, float]]
) -> None:
    in_sampling, in_training = (shares(slide, corners, 16) for corners in (visited, trained))
    assert (in_sampling < 0.05).mean() > 0.1  # many are nearly empty
    assert largest_difference(in_sampling, in_training) < 0.1


def test_every_place_that_sampling_visits_is_learned_from(
    visited: list[tuple[float, float]], trained: list[tuple[float, float]]
) -> None:
    assert max(np.abs(np.array(trained) - corner).max(axis=1).min() for corner in visited) <= 12  # the stride


def test_no_patch_is_learned_from_where_sampling_would_draw_none(
    slide: Watched, trained: list[tuple[float, float]]
) -> None:
    for x, y in trained[:200]:
        around = slide.read((x - 24, y - 24), 64, 16)
        assert tissue_mask(around, RULE)[6:10, 6:10].any()


def test_a_slide_whose_tissue_the_rule_erodes_is_learned_from_all_the_same(
    make_model: MakeModel, slide: Watched
) -> None:
    eroding = TissueRule(min_hue=-1, min_saturation=0.1, erode_px=99)
    assert examples(make_model(tissue=eroding), slide, HIGH, 0)[0]["image"].shape == (3, 16, 16)


def test_outside_the_slide_is_the_fill_colour(make_model: MakeModel) -> None:
    picture = np.full((192, 256, 3), (90, 120, 60), np.uint8)
    slide = ArraySlide(picture, background=(200, 200, 200), path=Path("ragged.png"))
    first, second = (examples(make_model(), slide, level, 1, TissueRule.everything()) for level in (0, 1))
    pictures = [picture for draw in range(30) for picture in (first[draw]["image"], second[draw]["cond_images"][:3])]
    colours = (torch.stack(pictures).transpose(0, 1).flatten(1) * 255).round().int().unique(dim=1)
    assert colours.T.tolist() == [[90, 120, 60], [242, 243, 242]]


class Cornered(ArraySlide):
    """A scan in the corner of an empty stage."""

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        return 300, 40, *SIZE_L0


@pytest.mark.parametrize("level", [1, HIGH])
def test_of_a_large_stage_the_scanned_region_is_learned_from(model: Urcdm, slide: Watched, level: int) -> None:
    canvas = np.full((300, 600, 3), (242, 243, 242), np.uint8)
    canvas[40 : 40 + SIZE_L0[1], 300 : 300 + SIZE_L0[0]] = slide.read((0, 0), SIZE_L0, SIZE_L0)
    cornered = Cornered(canvas, mpp=0.5, background=(242, 243, 242), path=slide.path)
    found, expected = (examples(model, each, level, 0) for each in (cornered, slide))
    assert [(x - 300, y - 40) for _, x, y in found.tiles] == [(x, y) for _, x, y in expected.tiles]
    for draw in range(20):
        for name, image in expected[draw].items():
            np.testing.assert_allclose(found[draw][name], image, atol=0.08)  # levels are halved at other places
