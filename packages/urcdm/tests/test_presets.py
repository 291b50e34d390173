import pytest

from cdm_core.config_file import dump_config, parse_config
from urcdm import TrainingPlan
from urcdm.layout.geometry import plan_geometry
from urcdm.presets import PLANS

FIELDS = {  # level-0 px of the low, medium and high images, as published
    "study": (40_000, 6_500, 1_024),
    "study-code": (40_000, 6_500, 1_024),
    "airs": (10_000, 3_328, 1_024),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_levels_are_the_published_ones(name: str) -> None:
    config = PLANS[name].urcdm
    assert tuple(level.field_l0 for level in config.levels) == FIELDS[name]
    assert {level.image_px for level in config.levels} == {1024}
    assert (config.overlap, config.context) == (0.125, "plain")
    assert config.fill == ((0, 0, 0) if name == "airs" else (242, 243, 242))


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_has_nine_networks_and_survives_its_file(name: str) -> None:
    plan = PLANS[name]
    assert len(plan.networks) == 9
    assert [network.training.steps for network in plan.of_level(1)] == [2_450_000, 450_000, 200_000]
    assert parse_config(TrainingPlan, dump_config(plan), "plan") == plan


def test_the_studys_slide_is_covered_by_2075_patches() -> None:  # the study, with truncated strides, took 46 x 46 high
    plan = PLANS["study"]
    cascades = tuple(plan.cascade(level) for level in range(3))
    low, medium, high = plan_geometry(plan.urcdm, cascades, (40_000, 40_000))
    assert [level.grid.rows * level.grid.cols for level in (low, medium, high)] == [1, 49, 45 * 45]


def test_code_and_text_differ_in_the_last_networks_alone() -> None:
    text, code = PLANS["study"].networks, PLANS["study-code"].networks
    differing = [a.stage.image_px for a, b in zip(text, code, strict=True) if a.stage != b.stage]
    assert differing == [1024] * 3
