from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_core import TrainingConfig
from urcdm import LevelExamples, NetworkPlan, TilesError, TrainingPlan, Urcdm
from wsi_tiling import ArraySlide, TileTable, TissueRule, find_tiles


@pytest.fixture(scope="module")
def plan(make_model: Callable[..., Urcdm]) -> TrainingPlan:
    model = make_model()
    training = TrainingConfig(steps=1, batch_size=1)
    networks = tuple(
        NetworkPlan(level.name, stage, training)
        for level, cascade in zip(model.config.levels, model.cascades, strict=True)
        for stage in cascade.config.stages
    )
    return TrainingPlan(model.config, networks)


@pytest.fixture(scope="module")
def slide() -> ArraySlide:
    """A smooth picture, no two places alike, 400 x 300 px."""
    y, x = np.mgrid[:300, :400]
    picture = np.stack([x * 0.6, y * 0.8, 128 + 60 * np.sin(x / 23 + y / 17)], axis=-1)
    return ArraySlide(picture.astype(np.uint8), mpp=0.5, background=(242, 243, 242), path=Path("smooth.png"))


@pytest.fixture(scope="module")
def tiles(plan: TrainingPlan, slide: ArraySlide) -> TileTable:
    rule = TissueRule.everything()
    return TileTable.concat(find_tiles([slide], field_l0=level.field_l0, rule=rule) for level in plan.urcdm.levels)


def examples(plan: TrainingPlan, tiles: TileTable, slide: ArraySlide, level: int, stage: int) -> LevelExamples:
    return LevelExamples(plan, level, stage, tiles, {"smooth": slide}, seed=3)


@pytest.mark.parametrize(("level", "stage"), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)])
def test_an_example_has_what_its_stage_is_given_in_sampling(
    plan: TrainingPlan, tiles: TileTable, slide: ArraySlide, level: int, stage: int
) -> None:
    config = plan.of_level(level)[stage].stage
    example = examples(plan, tiles, slide, level, stage)[0]
    side = config.image_px
    assert example["image"].shape == (3, side, side)
    assert ("cond_images" in example) == (level > 0)
    if level > 0:
        assert example["cond_images"].shape == (6, side, side)
    starts_from_parent = level > 0 and stage == 0 and config.lowres_px is not None
    assert ("lowres" in example) == starts_from_parent


def test_the_centre_of_the_context_shows_the_patch_however_it_is_turned(
    plan: TrainingPlan, tiles: TileTable, slide: ArraySlide
) -> None:
    data = examples(plan, tiles, slide, 2, 0)
    for draw in range(20):
        example = data[draw]
        small = torch.nn.functional.interpolate(example["image"][None], 4, mode="area")[0]
        # red and green tell the place, a grey value less than two level-0 px; the slide's own rim is padded
        assert (example["lowres"] - small)[:2, 1:3, 1:3].abs().max() < 3 / 255


def test_the_same_draw_is_the_same_example_and_another_is_another(
    plan: TrainingPlan, tiles: TileTable, slide: ArraySlide
) -> None:
    data, again = (examples(plan, tiles, slide, 1, 1) for _ in range(2))
    assert all(torch.equal(data[7][name], again[7][name]) for name in data[7])
    assert not torch.equal(data[7]["image"], data[8]["image"])


def test_patches_stay_inside_a_slide_that_is_large_enough(
    plan: TrainingPlan, tiles: TileTable, slide: ArraySlide
) -> None:
    data = examples(plan, tiles, slide, 2, 0)
    fill = torch.tensor([242, 243, 242])[:, None, None] / 255
    assert all(((data[draw]["image"] - fill).abs().amax(0) > 0.01).all() for draw in range(50))


def test_tiles_of_other_fields_and_unknown_slides_are_refused(
    plan: TrainingPlan, tiles: TileTable, slide: ArraySlide
) -> None:
    with pytest.raises(TilesError, match="no tiles of 16 level-0 px for level 'high'"):
        examples(plan, TileTable(tiles.frame[tiles.frame["field_l0"] != 16]), slide, 2, 0)
    with pytest.raises(TilesError, match="slides that are not there: smooth"):
        LevelExamples(plan, 0, 0, tiles, {}, seed=0)
