"""The presets against the study's tables, written out once more as the tables are: a row a hyperparameter."""

import math
import tomllib
from dataclasses import asdict, fields

import pytest
import tomli_w
import torch

from cdm_core import StageConfig, UnetConfig, build_unet
from cdm_core.config_file import dump_config, parse_config
from cdm_core.presets import PRESETS, preset

F, T = False, True
UNETS = {  # hyperparameter: U-Net 1, U-Net 2, U-Net 3
    "dim": (256, 128, 128),
    "cond_dim": (512, 512, 512),
    "num_resnet_blocks": (3, 2, (2, 4, 4, 4)),
    "layer_attns": ((F, T, T, T), (F, F, F, T), F),
    "layer_cross_attns": ((F, T, T, T), (F, F, T, T), (F, F, F, T)),
    "init_conv_to_final_conv_residual": (F, T, T),
    "memory_efficient": (F, T, T),
}
STEEP, FLAT = (1, 2, 4, 8), (1, 2, 3, 4)
NOISE, MIXED = ("noise", "noise", "noise"), ("noise", "v", "v")
CASCADES = {  # name: dim_mults of U-Net 1, objectives, cond_images_channels, sizes, max_grad_norm
    "kidney-unconditional": (STEEP, NOISE, 0, (64, 256, 1024), math.inf),
    "kidney-masks": (FLAT, MIXED, 4, (64, 256, 1024), math.inf),
    "kumar": (FLAT, MIXED, 1, (64, 256), math.inf),
    "urcdm-low": (FLAT, MIXED, 0, (64, 256, 1024), 1),
    "urcdm-medium": (FLAT, MIXED, 3, (64, 256, 1024), 1),
    "urcdm-high": (FLAT, MIXED, 3, (64, 256, 1024), 1),
    "urcdm-low-code": (FLAT, MIXED, 0, (64, 256, 1024), 1),
    "urcdm-medium-code": (FLAT, MIXED, 3, (64, 256, 1024), 1),
    "urcdm-high-code": (FLAT, MIXED, 3, (64, 256, 1024), 1),
}
TRAINING_STEPS = {
    "kidney-unconditional": (1_734_000, 1_671_000, 1_398_000),
    "kidney-masks": (173_000, 348_000, 185_000),
    "kumar": (171_000, 286_000),
    "urcdm-low": (475_000, 450_000, 375_000),
    "urcdm-medium": (2_450_000, 450_000, 200_000),
    "urcdm-high": (1_125_000, 1_550_000, 325_000),
}
# Parameters of the full-size networks in millions, as measured with the library's own U-Net.
PARAMETERS = {"kidney-unconditional": (983, 311, 448)}


@pytest.mark.parametrize("name", CASCADES)
def test_the_networks_are_those_of_the_tables(name: str) -> None:
    mults, objectives, channels, sizes, _ = CASCADES[name]
    stages = preset(name).cascade.stages
    assert tuple(stage.image_px for stage in stages) == sizes
    assert tuple(stage.lowres_px for stage in stages) == (None, *sizes[:-1])
    for i, stage in enumerate(stages):
        wanted = {row: columns[i] for row, columns in UNETS.items()}
        if i == 2 and name.endswith("-code"):
            wanted["num_resnet_blocks"] = (2, 4, 6, 8)
        wanted |= {"dim_mults": mults if i == 0 else STEEP, "cond_images_channels": channels}
        found = asdict(stage.unet)
        assert {row: found[row] for row in wanted} == wanted
        defaults = {field.name: field.default for field in fields(UnetConfig) if field.name not in wanted}
        assert {row: found[row] for row in defaults if row != "text_embed_dim"} == {
            row: value for row, value in defaults.items() if row != "text_embed_dim"
        }
        assert stage.objective == objectives[i]


@pytest.mark.parametrize("name", CASCADES)
def test_sampling_and_training_are_those_of_the_tables(name: str) -> None:
    chosen, sizes, norm = preset(name), CASCADES[name][3], CASCADES[name][4]
    stages = chosen.cascade.stages
    assert [stage.sampling.steps for stage in stages] == [1024, 256, 256][: len(sizes)]
    assert [stage.schedule for stage in stages] == ["cosine", "cosine", "linear"][: len(sizes)]
    assert {stage.sampling.method for stage in stages} == {"ddpm"}
    assert {stage.sampling.threshold for stage in stages} == {"dynamic"}
    assert {(stage.lowres_schedule, stage.sampling.lowres_noise) for stage in stages} == {("linear", 0.2)}
    assert tuple(run.steps for run in chosen.training) == TRAINING_STEPS[name.removesuffix("-code")]
    assert [run.crop_px for run in chosen.training] == [None, None, 256][: len(sizes)]
    for run in (*chosen.training, *chosen.fine_tuning):
        assert (run.max_grad_norm, run.loss_weight, run.learning_rate) == (norm, "p2", 1e-4)
        assert (run.weight_decay, run.learning_rate_decay, run.drop_embedding) == (0, "none", 0.1)
        assert (run.batch_size, run.chunk_size) == ((16, 4) if name == "kumar" else (8, None))


def test_the_mask_conditioned_model_is_fine_tuned() -> None:
    assert tuple(run.steps for run in preset("kidney-masks").fine_tuning) == (145_000, 143_000, 43_000)


def test_models_that_are_told_something_have_an_embedding() -> None:
    widths = {name: {stage.unet.text_embed_dim for stage in each.cascade.stages} for name, each in PRESETS.items()}
    assert widths.pop("kidney-masks") == {3}  # outcome, days after transplantation, creatinine
    assert widths.pop("kumar") == {2}  # tissue type, disease
    assert set.union(*widths.values()) == {None}


@pytest.mark.parametrize(("name", "stage"), [("kidney-unconditional", stage) for stage in range(3)])
def test_the_full_size_networks_have_the_parameters_that_were_measured(name: str, stage: int) -> None:
    with torch.device("meta"):
        unet = build_unet(preset(name).cascade.stages[stage])
    millions = sum(parameter.numel() for parameter in unet.parameters()) / 1e6
    assert millions == pytest.approx(PARAMETERS[name][stage], abs=0.5)


def test_every_preset_has_a_training_for_each_stage() -> None:
    for each in PRESETS.values():
        assert len(each.training) == len(each.cascade.stages)
        assert len(each.fine_tuning) in (0, len(each.cascade.stages))
        for run, stage in zip(each.training, each.cascade.stages, strict=True):
            assert isinstance(stage, StageConfig)
            assert run.crop_px is None or run.crop_px <= stage.image_px


def test_presets_survive_being_written_down() -> None:
    for each in PRESETS.values():
        for config in (each.cascade, *each.training, *each.fine_tuning):
            written = tomllib.loads(tomli_w.dumps(dump_config(config)))
            assert parse_config(type(config), written, "test") == config


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no preset 'kidny'; there are kidney-unconditional, kidney-masks, kumar"):
        preset("kidny")
