import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cdm_core import TrainingConfig
from urcdm import NetworkPlan, ShardExamples, TilesError, TrainingPlan, Urcdm
from wsi_tiling import ShardSettings, ShardTiles, TissueRule, export_shards, find_tiles, open_slide


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
def shards(plan: TrainingPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards for each level, of a smooth slide of 400 x 300 px, no two places alike."""
    folder = tmp_path_factory.mktemp("shards")
    y, x = np.mgrid[:300, :400]
    picture = np.stack([x * 0.6, y * 0.8, 128 + 60 * np.sin(x / 23 + y / 17)], axis=-1)
    Image.fromarray(picture.astype(np.uint8)).save(folder / "smooth.png")
    levels = plan.urcdm.levels
    with open_slide(folder / "smooth.png") as slide:
        for number, level in enumerate(levels):
            table = find_tiles([slide], field_l0=level.field_l0, rule=TissueRule.everything())
            parents = tuple((parent.field_l0, parent.image_px) for parent in reversed(levels[:number]))
            list(export_shards(table, folder / level.name, ShardSettings(level.image_px, contexts=parents)))
    return folder


@pytest.mark.parametrize(("level", "stage"), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)])
def test_an_example_has_what_its_stage_is_given_in_sampling(
    plan: TrainingPlan, shards: Path, level: int, stage: int
) -> None:
    config = plan.of_level(level)[stage].stage
    example = ShardExamples(plan, level, stage, ShardTiles(shards / plan.urcdm.levels[level].name), seed=3)[0]
    assert example["image"].shape == (3, config.image_px, config.image_px)
    assert ("cond_images" in example) == (level > 0)
    assert ("lowres" in example) == (level > 0 and stage == 0 and config.lowres_px is not None)


def test_the_centre_of_the_context_shows_the_patch_however_it_is_turned(plan: TrainingPlan, shards: Path) -> None:
    data = ShardExamples(plan, 2, 0, ShardTiles(shards / "high"), seed=3)
    for draw in range(20):
        example = data[draw]
        small = torch.nn.functional.interpolate(example["image"][None], 4, mode="area")[0]
        assert (example["lowres"] - small)[:2, 1:3, 1:3].abs().max() < 3 / 255


def test_the_same_draw_is_the_same_example_in_a_copy_too(plan: TrainingPlan, shards: Path) -> None:
    data = ShardExamples(plan, 1, 1, ShardTiles(shards / "medium"), seed=3)
    copy = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert all(torch.equal(data[700][name], copy[700][name]) for name in data[700])
    assert not torch.equal(data[7]["image"], data[8]["image"])


def test_shards_of_another_plan_are_refused(plan: TrainingPlan, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(TilesError, match="wanted shards of 16 level-0 px for level 'high', got 64"):
        ShardExamples(plan, 2, 0, ShardTiles(shards / "medium"), seed=0)
    with open_slide(shards / "smooth.png") as slide:
        table = find_tiles([slide], field_l0=16, rule=TissueRule.everything())
    for name, settings, match in (
        ("alone", ShardSettings(16), "a context of 64 level-0 px for level 'high', got none"),
        ("large", ShardSettings(32, contexts=((64, 16),)), "pictures of 16 px of 'high', got 32"),
        ("fine", ShardSettings(16, contexts=((64, 32),)), "pictures of 16 px of 'medium', got 32"),
    ):
        list(export_shards(table, tmp_path / name, settings))
        with pytest.raises(TilesError, match=match):
            ShardExamples(plan, 2, 0, ShardTiles(tmp_path / name), seed=0)
