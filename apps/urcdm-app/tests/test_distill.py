from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urcdm import Urcdm

RunApp = Callable[..., Any]


def test_a_model_of_few_steps_is_made_of_one_of_more(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    words = ["distill", "--model", model, "--plan", plan, "--tiles", tiles, "--out", tmp_path / "run", "--to", "1"]
    first = run_app(*words, "--only", "high-16", "--device", "cpu")
    assert first.code == 0, first.err
    assert "Not distilled, and as the teacher's: low-16, medium-16" in first.out
    mixed = Urcdm.load(tmp_path / "run" / "model")
    assert [cascade.config.stages[-1].sampling.steps for cascade in mixed.cascades] == [2, 2, 1]
    assert "--resume" in run_app(*words).err
    whole = run_app(*words, "--resume", "--device", "cpu")
    assert whole.code == 0, whole.err
    students = Urcdm.load(tmp_path / "run" / "model")
    sampling = [stage.sampling for cascade in students.cascades for stage in cascade.config.stages]
    assert {(each.steps, each.method) for each in sampling} == {(1, "ddim")}
    assert students.provenance["teacher"] == Urcdm.load(model).fingerprint()
    again = run_app(*words, "--resume", "--method", "consistency")
    assert "was started with another model, plan, --to, --method" in again.err
    words[words.index(tmp_path / "run")] = tmp_path / "other"
    consistent = run_app(*words, "--method", "consistency", "--only", "high-16", "--device", "cpu")
    assert consistent.code == 0, consistent.err
    assert Urcdm.load(tmp_path / "other" / "model").cascades[2].config == students.cascades[2].config
    out = ("--out", tmp_path / "slide.tiff", "--size", "48", "--device", "cpu")
    drawn = run_app("sample", "--model", tmp_path / "run" / "model", *out)
    assert drawn.code == 0, drawn.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "4"], "students of 4 steps take from 1 to 3, not 4"),
        (["--only", "high-32"], "no such network; the plan has low-16, medium-16, high-16"),
        (["--tiles", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_distilled(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    out = tmp_path / "run"
    given = ["--model", model, "--plan", plan, "--tiles", tiles, "--out", out, "--to", "1", "--device", "cpu"]
    refused = run_app("distill", *given, *words)
    assert refused.code == 1
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert not out.exists()


def test_a_model_of_another_plan_is_refused(
    run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(plan.read_text().replace("dim = 8", "dim = 16"))
    refused = run_app("distill", "--model", model, "--plan", other, "--tiles", tiles, "--out", tmp_path / "run")
    assert refused.code == 1
    assert "it is not of the plan; take the plan that it was trained by" in refused.err
