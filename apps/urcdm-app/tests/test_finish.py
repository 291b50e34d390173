from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_core import Cascade, CascadeConfig, SamplingConfig
from urcdm import Urcdm
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin

RunApp = Callable[..., Any]


@pytest.fixture
def students(model: Path, tmp_path: Path) -> Path:
    """The tiny model, whose last two networks are sampled as students are."""
    teacher = Urcdm.load(model)
    cascades = [teacher.cascades[0]]
    for cascade in teacher.cascades[1:]:
        stages = [replace(stage, sampling=SamplingConfig(2, "ddim")) for stage in cascade.config.stages]
        cascades.append(Cascade(CascadeConfig(tuple(stages)), cascade.unets))
    Urcdm(teacher.config, cascades, teacher.provenance).save(tmp_path / "students")
    return tmp_path / "students"


def test_students_are_finished_and_the_rest_stays(
    run_app: RunApp, plan: Path, students: Path, tiles: Path, tmp_path: Path
) -> None:
    words = ["finish", "--model", students, "--plan", plan, "--tiles", tiles, "--out", tmp_path / "run", "--steps", "2"]
    first = run_app(*words, "--only", "high-16", "--device", "cpu")
    assert first.code == 0, first.err
    assert "Not finished, and as they were: low-16, medium-16" in first.out
    assert "resume it (--resume)" in run_app(*words).err
    assert "was started with another model, plan" in run_app(*words, "--resume", "--batch", "3").err
    whole = run_app(*words, "--resume", "--device", "cpu")
    assert whole.code == 0, whole.err
    assert "Not finished, and as they were: low-16" in whole.out  # which is not a student
    before, after = Urcdm.load(students), Urcdm.load(tmp_path / "run" / "model")
    assert after.config == before.config
    for number, (old, new) in enumerate(zip(before.cascades, after.cascades, strict=True)):
        assert new.config == old.config
        weights = old.unets[0].state_dict()
        same = all(torch.equal(value.half(), weights[name].half()) for name, value in new.unets[0].state_dict().items())
        assert same == (number == 0)
    assert after.provenance["finished"] == "medium-16, high-16"
    drawn = run_app("sample", "--model", tmp_path / "run" / "model", "--size", "48", "--out", tmp_path / "slide.tiff")
    assert drawn.code == 0, drawn.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "low-16"], "sampled with dpmpp_2m, as no student is; set finishing.steps"),
        (["--only", "lo"], "no such network; the plan has low-16"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_finished(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    arguments = ["finish", "--model", model, "--plan", plan, "--tiles", tiles, "--out", tmp_path / "run", *words]
    refused = run_app(*arguments)
    assert (refused.code, message in refused.err) == (1, True), refused.err
    none = run_app("finish", "--model", model, "--plan", plan, "--tiles", tiles, "--out", tmp_path / "run")
    assert "none of its networks is a student; make students with: urcdm-app distill" in none.err
    assert not (tmp_path / "run").exists()


def test_a_teacher_is_finished_in_the_steps_of_the_plan(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    wanted, last = tmp_path / "finishing.toml", "\n[networks.finishing]\nsteps = 1\n"
    wanted.write_text(plan.read_text() + last)
    words = ["finish", "--plan", wanted, "--tiles", tiles, "--steps", "1", "--device", "cpu"]
    once = run_app(*words, "--model", model, "--out", tmp_path / "once")
    assert once.code == 0, once.err
    stage = Urcdm.load(tmp_path / "once" / "model").cascades[2].config.stages[0]
    assert (stage.sampling.steps, stage.sampling.method) == (1, "ddim")


@pytest.mark.parametrize("shipped", [builtin.MODEL, builtin.TEACHER])
def test_the_built_in_models_are_of_the_built_in_plan(shipped: Path) -> None:
    model = Urcdm.load(shipped)
    assert read_plan(builtin.PLAN).describes(model.config, [cascade.config for cascade in model.cascades])
