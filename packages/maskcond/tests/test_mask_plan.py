import tomllib
from pathlib import Path

import pytest
import tomli_w

from cdm_core import ConfigError
from cdm_core.presets import preset
from maskcond import KIDNEY, KUMAR, KUMAR_CONDITIONS, MASK_PLANS, mask_plan_text, read_mask_plan


@pytest.mark.parametrize("name", MASK_PLANS)
def test_a_plan_is_the_same_from_its_file(name: str, tmp_path: Path) -> None:
    plan = read_mask_plan(Path(name))
    path = tmp_path / "plan.toml"
    path.write_text(mask_plan_text(plan), encoding="utf-8")
    assert read_mask_plan(path) == plan
    path.write_text("\ufeff" + path.read_text())  # as some editors save it
    assert read_mask_plan(path) == plan


@pytest.mark.parametrize(("name", "of_study"), [("kumar", "kumar"), ("kidney", "kidney-masks")])
def test_the_study_plans_have_the_sizes_and_steps_of_the_study(name: str, of_study: str) -> None:
    plan, chosen = MASK_PLANS[name], preset(of_study)
    assert plan.input.codec.classes == {"kumar": KUMAR, "kidney": KIDNEY}[name]
    for network, planned, stage in zip(plan.networks, plan.cascade.stages, chosen.cascade.stages, strict=True):
        assert (planned.image_px, planned.objective) == (stage.image_px, stage.objective)
        assert planned.unet.dim_mults == stage.unet.dim_mults
        assert planned.unet.cond_images_channels == stage.unet.cond_images_channels + 1
        assert plan.input.schema is not None
        assert planned.unet.text_embed_dim == plan.input.schema.width
        assert network.stage.unet.cond_images_channels == 0
    if name == "kumar":
        assert [stage.image_px for stage in plan.cascade.stages] == [64, 256]
        assert [network.training.steps for network in plan.networks] == [171_000, 286_000]
        assert plan.input.schema == KUMAR_CONDITIONS
    else:
        assert plan.cascade.stages[-1].image_px == 1024
        assert plan.networks[-1].training.crop_px == 256  # the last stage trains on crops
        steps = [(each.blank_training.steps, each.training.steps) for each in plan.networks if each.blank_training]
        assert steps == [(173_000, 145_000), (348_000, 143_000), (185_000, 43_000)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("crop_px", "crop_pix"), r"unknown key 'augmentation\.crop_pix'; did you mean 'crop_px'\?"),
        (("crop_px = 128\n", ""), "augmentation: crop_px is wanted"),
        (("crop_px = 128", "crop_px = 48"), "crop_px 48 is under the last stage's image_px 64"),
        (("cond_images_channels = 0", "cond_images_channels = 1"), "follow from the masks and the conditions"),
        (("drop_condition = 0.1", "drop_condition = 2.0"), r"drop_condition lies in \[0, 1\], got 2\.0"),
        (("lowres_px = 32", "lowres_px = 16"), "a stage enlarges 16 px but the one before makes 32 px"),
        (("share = 0.0", "share = 3.0"), r"wanted a share in \[0, 1\], got 3\.0"),
        (('"Bladder"', '"Breast"'), "wanted different values"),
        (("values = [", "valves = ["), "wanted a condition with name and values"),
        (('name = "nuclei"', ""), r"input\.classes\.0\.name"),
        (
            ("[[input.cl", '[input]\nshows = "distances"\n[[input.cl'),
            "to show distances, got the classes nuclei, in which",
        ),
        (
            ("[[input.cl", '[input]\nshows = "rings"\n[[input.cl'),
            r"input\.shows: Input should be 'distances' or 'points'",
        ),
        (("[augmentation]", "[augmentation"), "cannot be read as TOML"),
    ],
)
def test_a_wrong_plan_is_told_in_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text, path = mask_plan_text(MASK_PLANS["kumar-small"]), tmp_path / "plan.toml"
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as raised:
        read_mask_plan(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "finishing = {}",
            r"networks\.1: finishing: the stage of 64 px is sampled with dpmpp_2m.*set finishing\.st",
        ),
        ("finishing = { steps = 0 }", r"networks\.1\.finishing: a student takes at least 1 step, got 0"),
        ("finishing = { stepps = 4 }", r"unknown key 'networks\.1\.finishing\.stepps'; did you mean 'steps'\?"),
        ("finishing = { losses = { r1 = -1.0 } }", r"networks\.1\.finishing\.losses: r1 is at least 0"),
        ('finishing = { steps = 4 }\nstage.objective = "noise"', "predicts noise"),
    ],
)
def test_a_network_that_cannot_be_finished_is_told_in_one_line(tmp_path: Path, line: str, message: str) -> None:
    values = tomllib.loads(mask_plan_text(MASK_PLANS["kumar-small"]))
    added = tomllib.loads(line)
    values["networks"][1]["stage"] |= added.pop("stage", {})
    values["networks"][1] |= added
    path = tmp_path / "plan.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as raised:
        read_mask_plan(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("setting", ["finish", "shows"])
def test_a_plan_without_a_setting_has_the_text_that_it_had_before_there_was_any(setting: str) -> None:
    assert setting not in mask_plan_text(MASK_PLANS["kumar-small"])


def test_a_plan_that_is_not_there_is_told() -> None:
    with pytest.raises(
        ConfigError, match="nowhere: no such plan; known names are kumar-small, kumar-small-borders, kumar-small-dist"
    ):
        read_mask_plan(Path("nowhere"))
