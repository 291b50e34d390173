import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pfid import FeatureStatistics, Light, fid

RunApp = Callable[..., Any]
NAMES = [
    "FID",
    "KID (100 subsets of 24)",
    *(f"{name} (k = 5)" for name in ("precision", "recall", "density", "coverage")),
]


def values(result: Path) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in json.loads(result.read_text())["figures"]}


def test_folders_of_one_kind_are_nearer_than_folders_of_two(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    found = []
    for fake in ("other", "dark"):
        out = tmp_path / f"{fake}.json"
        done = run_app("fid", pictures / "real", pictures / fake, "--extractor", network, "--out", out)
        assert done.code == 0, done.err
        assert all(f"{name} " in done.out for name in NAMES)
        assert "extractor: colours.pt (sha256" in done.out
        found.append(values(out))
    near, far = found
    assert list(near) == NAMES
    assert near["FID"] < far["FID"] / 2
    assert near["precision (k = 5)"] > far["precision (k = 5)"]
    assert near["recall (k = 5)"] > far["recall (k = 5)"]


def test_kept_statistics_give_the_same_fid_without_the_images(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    real, kept = tmp_path / "real", tmp_path / "real.npz"
    shutil.copytree(pictures / "real", real)
    settings = ("--extractor", network)
    first = run_app("fid", real, pictures / "dark", *settings, "--save-statistics", kept, "--out", tmp_path / "1.json")
    assert first.code == 0, first.err
    assert FeatureStatistics.load(kept).count == 24
    shutil.rmtree(real)
    again = run_app("fid", kept, pictures / "dark", *settings, "--out", tmp_path / "2.json")
    assert again.code == 0, again.err
    assert "FID only" in again.out
    assert values(tmp_path / "2.json") == {"FID": pytest.approx(values(tmp_path / "1.json")["FID"], rel=1e-9)}


def test_the_light_extractor_is_the_default_and_says_so(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    sides = pictures / "real", pictures / "other"
    done = run_app("fid", *sides, "--allow-few", "--device", "cpu", "--out", tmp_path / "fid.json")
    assert done.code == 0, done.err
    extractor = Light()
    assert f"extractor: {extractor.name}\n" in done.out
    expected = fid(real=sides[0], fake=sides[1], extractor=extractor, allow_few=True)
    assert values(tmp_path / "fid.json")["FID"] == pytest.approx(expected.value, rel=1e-4)


@pytest.mark.parametrize("images", [2, 4, 5, 6])
def test_each_metric_has_its_own_need_of_images(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path, images: int
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for seed in range(images):
        shutil.copy(pictures / "dark" / f"{200 + seed}.png", few)
    out = tmp_path / "fid.json"
    done = run_app("fid", few, pictures / "real", "--extractor", network, "--allow-few", "--out", out)
    assert done.code == 0, done.err
    left_out = (
        f"precision, recall, density and coverage (k = 5) left out: they take 6 images a side, the smaller has {images}"
    )
    assert (left_out in done.out) == (images < 6)
    names = [name.split()[0] for name in values(out)]
    assert names == ["FID", "KID"] + ["precision", "recall", "density", "coverage"] * (images == 6)


def test_one_image_is_refused_before_anything_is_measured(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(pictures / "dark" / "200.png", tmp_path / "one")
    monkeypatch.setattr("eval_app.measuring.fid.features_of", None)
    refused = run_app("fid", tmp_path / "one", pictures / "real", "--extractor", network, "--allow-few")
    assert (refused.code, "one: a distance takes 2 or more" in refused.err) == (1, True)


def test_one_folder_on_both_sides_is_allowed_and_noted(run_app: RunApp, pictures: Path, network: Path) -> None:
    done = run_app("fid", pictures / "real", pictures / "real", "--extractor", network)
    assert done.code == 0, done.err
    assert "both sides are the same images" in done.out


def test_unreadable_images_are_counted_and_left_out_only_when_asked(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    shutil.copytree(pictures / "other", fake)
    (fake / "900.png").write_text("no picture")
    (fake / "901.png").write_bytes((fake / "100.png").read_bytes()[:900])
    arguments = ("fid", pictures / "real", fake, "--extractor", network)
    refused = run_app(*arguments)
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
    assert "1 of 26 images cannot be read" in refused.err
    assert "900.png" in refused.err
    done = run_app(*arguments, "--skip-unreadable", "--out", tmp_path / "fid.json")
    assert done.code == 0, done.err
    figure = json.loads((tmp_path / "fid.json").read_text())["figures"][0]
    assert figure["n_fake"] == 24
    assert "900.png" in figure["note"]


def test_statistics_of_another_extractor_are_refused(
    run_app: RunApp, pictures: Path, network: Path, tmp_path: Path
) -> None:
    foreign, other = tmp_path / "foreign.npz", tmp_path / "other.npz"
    np.savez(foreign, mu=np.zeros(7), sigma=np.eye(7))
    FeatureStatistics(np.zeros(6), np.eye(6), 24, "another", "none").save(other)
    for path, words in ((foreign, "the real side has 7 features"), (other, "features of 'another'")):
        refused = run_app("fid", path, pictures / "real", "--extractor", network)
        assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
        assert words in refused.err


def test_results_replace_neither_inputs_nor_each_other(run_app: RunApp, pictures: Path, tmp_path: Path) -> None:
    real, kept = pictures / "real", tmp_path / "kept.npz"
    kept.write_bytes(b"statistics of generated images")
    picture = next(real.iterdir())
    for problem, *arguments in (
        ("is an input of this command", real, kept, "--save-statistics", kept),
        ("ends in .json", real, real, "--out", picture),
        ("ends in .npz", real, real, "--save-statistics", picture),
    ):
        before = kept.read_bytes(), picture.read_bytes()
        refused = run_app("fid", *arguments, "--overwrite")
        assert refused.code == 1
        assert problem in refused.err
        assert (kept.read_bytes(), picture.read_bytes()) == before
