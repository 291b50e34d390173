"""One cascade for all levels above the first, told the level."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_core import Cascade, CascadeConfig, TrainingConfig
from urcdm import Level, LevelExamples, NetworkPlan, PatchTask, TrainingPlan, Urcdm, UrcdmConfig
from urcdm.config import SHARED
from urcdm.execution.batches import run_tasks
from urcdm.training.examples import InTurn
from wsi_tiling import ArraySlide, TileTable, TissueRule, find_tiles

MakeModel = Callable[..., Urcdm]


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    """A model of three levels whose second and third share a super-resolution network."""
    separate = make_model()
    (stage,) = separate.cascades[2].config.stages
    shared = CascadeConfig((replace(stage, unet=replace(stage.unet, text_embed_dim=2)),))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        cascade = Cascade(shared)
        torch.nn.init.normal_(cascade.unets[0].final_conv.weight, std=0.2)  # fresh networks end in zeros
    return Urcdm(replace(separate.config, weights="shared"), [separate.cascades[0], cascade, cascade])


@pytest.fixture(scope="module")
def plan(model: Urcdm) -> TrainingPlan:
    training = TrainingConfig(steps=1, batch_size=1)
    networks = [NetworkPlan("low", stage, training) for stage in model.cascades[0].config.stages]
    networks += [NetworkPlan(SHARED, stage, training) for stage in model.cascades[1].config.stages]
    return TrainingPlan(model.config, tuple(networks))


def test_a_model_keeps_one_folder_for_what_its_levels_share(model: Urcdm, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low", "model.toml", "shared"]
    loaded = Urcdm.load(tmp_path)
    assert loaded.cascades[1] is loaded.cascades[2]
    assert loaded.fingerprint() == model.fingerprint()


def test_levels_are_learned_from_in_turn_and_told_to_the_network(plan: TrainingPlan) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    slide = ArraySlide(picture, path=Path("noise.png"))
    levels = plan.urcdm.levels
    tiles = TileTable.concat(find_tiles([slide], field_l0=x.field_l0, rule=TissueRule.everything()) for x in levels)
    parts = [LevelExamples(plan, level, 0, tiles, {"noise": slide}, seed=0) for level in (1, 2)]
    examples = InTurn(parts)
    assert [examples[draw]["embedding"].tolist() for draw in range(4)] == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert torch.equal(examples[5]["image"], parts[1][2]["image"])
    assert "embedding" not in LevelExamples(plan, 0, 0, tiles, {"noise": slide}, seed=0)[0]


def test_sampling_tells_the_network_its_level(model: Urcdm) -> None:
    context, lowres = np.full((16, 16, 6), 90, np.uint8), np.full((4, 4, 3), 90, np.uint8)
    tasks = [PatchTask(level, 0, (0, 0), 7, context, lowres) for level in (1, 2)]
    one, other = (run_tasks(model, [task])[0].astype(int) for task in tasks)
    assert (one != other).any()


def test_a_plan_has_networks_of_the_first_level_and_shared_ones(plan: TrainingPlan) -> None:
    assert plan.of_level(1) == plan.of_level(2) == plan.networks[2:]
    with pytest.raises(ValueError, match="a network of level 'high', but the levels are low, shared"):
        replace(plan, networks=(*plan.networks, replace(plan.networks[2], level="high")))
    with pytest.raises(ValueError, match="level 'shared' has no network"):
        replace(plan, networks=plan.networks[:2])


def test_what_cannot_be_shared_is_refused(model: Urcdm, make_model: MakeModel) -> None:
    with pytest.raises(ValueError, match="images of one size"):
        UrcdmConfig((Level("a", 64, 16), Level("b", 16, 16), Level("c", 8, 32)), mpp=0.5, weights="shared")
    with pytest.raises(ValueError, match="no level can have the name 'shared'"):
        UrcdmConfig((Level("a", 64, 16), Level("shared", 16, 16)), mpp=0.5, weights="shared")
    with pytest.raises(ValueError, match="want text_embed_dim = 2, got None"):
        Urcdm(model.config, make_model().cascades)
    with pytest.raises(ValueError, match="one cascade for all levels above the first, got several"):
        Urcdm(model.config, [*model.cascades[:2], Cascade(model.cascades[1].config)])
