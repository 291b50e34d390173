import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdm_core import CheckpointError, ConfigError
from cdm_core.config_file import parse_config
from urcdm import Level, RunSettings, SettingsError, TrainingPlan, Urcdm, UrcdmConfig

MakeModel = Callable[..., Urcdm]


def test_a_saved_model_comes_back_as_it_was(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    model.provenance["data"] = "none"
    model.save(tmp_path)
    again = Urcdm.load(tmp_path)
    assert again.config == model.config
    assert again.provenance == {"data": "none"}
    assert again.fingerprint() == model.fingerprint()


def test_the_fingerprint_tells_weights_and_settings_apart(make_model: MakeModel) -> None:
    model = make_model()
    assert make_model().fingerprint() == model.fingerprint()
    assert make_model(weights=1).fingerprint() != model.fingerprint()
    assert Urcdm(replace(model.config, overlap=0.25), model.cascades).fingerprint() != model.fingerprint()


def test_a_model_with_a_level_missing_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    make_model().save(tmp_path, dtype=torch.float16)
    (tmp_path / "medium" / "stage-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"medium/stage-2\.safetensors: weights not found"):
        Urcdm.load(tmp_path)


def test_a_cascade_can_be_another_models(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    for name in ("one", "other"):
        model.save(tmp_path / name)
    shutil.rmtree(tmp_path / "other" / "low")
    path = tmp_path / "other" / "model.toml"
    alone = path.read_text()
    path.write_text(f'elsewhere = {{ low = "../one/low" }}\n{alone}')
    assert Urcdm.load(tmp_path / "other").fingerprint() == model.fingerprint()
    path.write_text(f'elsewhere = {{ lower = "../one/low" }}\n{alone}')
    with pytest.raises(ConfigError, match="elsewhere: a table of folders, of low, medium, high"):
        Urcdm.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('context = "centre"', 'context = "plain"', "cond_images_channels is 6, context = 'plain' wants 3"),
        ("image_px = 16", "image_px = 32", "wants 32 px"),
        ("overlap = 0.125", "overlap = 0.75", r"overlap in \[0, 0.5\]"),
        ("overlap = 0.125", "overlp = 0.125", "unknown key 'overlp'; did you mean 'overlap'"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(
    make_model: MakeModel, tmp_path: Path, old: str, new: str, message: str
) -> None:
    make_model().save(tmp_path)
    path = tmp_path / "model.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises((CheckpointError, ConfigError), match=message) as raised:
        Urcdm.load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "a level or more"),
        ((Level("low", 256, 16), Level("low", 64, 16)), "same name"),
        ((Level("low", 256, 16), Level("high", 256, 16)), "must show less"),
        ((Level("low", 256, 64), Level("high", 64, 16)), "show it larger"),
    ],
)
def test_levels_zoom_in(levels: tuple[Level, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UrcdmConfig(levels, mpp=0.5)


NOT_FINITE = [math.nan, math.inf, -math.inf, float(np.float16("nan"))]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_numbers_are_finite(value: float) -> None:
    levels = (Level("low", 256, 16), Level("high", 16, 16))
    with pytest.raises(ValueError, match="field_l0"):
        Level("low", value, 16)
    for name in ("mpp", "overlap", "context_noise", "max_context_noise", "max_context_blur", "pad_augment"):
        with pytest.raises(ValueError, match=name):
            UrcdmConfig(levels, **{"mpp": 0.5, name: value})
    with pytest.raises(SettingsError, match="seed"):
        RunSettings((64, 64), seed=value)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="width"):
        RunSettings((value, 64))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../low"}, "a level's name is a folder's"),
        ({"name": ""}, "a level's name is a folder's"),
        ({"name": "lo[w]*"}, "a level's name is a folder's"),
        ({"field_l0": 0}, "field_l0 is positive"),
        ({"image_px": 0}, "image_px is at least 1"),
    ],
)
def test_levels_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Level(**{"name": "low", "field_l0": 256, "image_px": 16} | change)


@pytest.mark.parametrize("change", [{"steps": 0}, {"resample": 0}, {"seed": -1}, {"size_l0": (0, 8)}, {"steps": 2.5}])
def test_runs_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="wanted a whole number"):
        RunSettings(**{"size_l0": (64, 64)} | change)


def plan_values(unet: dict[str, int]) -> dict[str, object]:
    """A plan as read from TOML, with a network for the first of its two levels only."""
    levels = [{"name": "low", "field_l0": 64, "image_px": 16}, {"name": "high", "field_l0": 16, "image_px": 16}]
    network = {"level": "low", "stage": {"image_px": 16, "unet": unet}, "training": {"steps": 1, "batch_size": 1}}
    return {"urcdm": {"mpp": 0.5, "levels": levels}, "networks": [network]}


def test_a_plan_names_the_nearest_known_key_deep_inside() -> None:
    message = "mine.toml: unknown key 'networks.0.stage.unet.dimm'; did you mean 'dim'?"
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_config(TrainingPlan, plan_values({"dimm": 8}), "mine.toml")


def test_a_plan_without_a_network_for_a_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="level 'high' has no network"):
        parse_config(TrainingPlan, plan_values({"dim": 8}), "mine.toml")
