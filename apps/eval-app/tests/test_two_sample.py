import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image

RunApp = Callable[..., Any]
QUICK = ("--crop", 16, "--steps", 2, "--folds", 2, "--device", "cpu")


def test_the_classifier_leaves_scores_and_a_picture(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("two-sample", "--real", pictures / "real", "--fake", pictures / "dark", "--out", out, *QUICK)
    done = run_app(*arguments)
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == [
        ".eval-app-two-sample.json",
        "telling.png",
        "two-sample.json",
    ]
    result = json.loads((out / "two-sample.json").read_text())
    names = [figure["name"] for figure in result["figures"]]
    assert names[:2] == ["accuracy of a classifier", "area under the ROC curve"]
    assert names[2].startswith("p of")
    assert [score["kind"] for score in result["scores"]] == ["real"] * 24 + ["fake"] * 24
    assert {score["name"] for score in result["scores"][24:]} == {f"{seed}.png" for seed in range(200, 224)}
    with PIL.Image.open(out / "telling.png") as picture:
        assert picture.width > 1000
    again = run_app(*arguments)
    assert (again.code, len(again.err.strip().splitlines())) == (1, 1)
    assert "holds a result of eval-app two-sample" in again.err
    assert run_app(*arguments, "--overwrite").code == 0
    assert json.loads((out / "two-sample.json").read_text())["scores"] == result["scores"]


def test_images_that_cannot_be_tested(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for seed in range(100, 105):
        shutil.copy(pictures / "other" / f"{seed}.png", few)
    for fake, more, words in (
        (few, (), "24 real and 5 generated images"),
        (pictures / "real", (), "24 images are on both sides"),
        (pictures / "other", ("--crop", 64), "48 of 48 images are smaller than the crop of 64 px"),
        (pictures / "other", ("--batch", 5), "batch_size is 5"),
    ):
        refused = run_app("two-sample", "--real", pictures / "real", "--fake", fake, "--out", tmp_path / "out", *more)
        assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
        assert words in refused.err
        assert not list(tmp_path.glob("out/*.png"))
