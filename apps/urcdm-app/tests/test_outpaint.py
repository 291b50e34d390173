"""`urcdm-app outpaint`: a slide from one cascade."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openslide
import pytest

RunApp = Callable[..., Any]


@pytest.fixture
def arguments(model: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    return ("outpaint", "--model", model / "low", "--out", tmp_path / "o.tiff", "--size", "40x28", "--device", "cpu")


@pytest.mark.parametrize("way", ["--in-order", "--joint"])
def test_a_cascade_by_itself_draws_a_slide_of_any_size(
    run_app: RunApp, arguments: tuple[str | Path, ...], tmp_path: Path, way: str
) -> None:
    drawn = run_app(*arguments, "--mpp", "0.5", way)
    assert drawn.code == 0, drawn.err
    slide = openslide.OpenSlide(tmp_path / "o.tiff")
    assert slide.dimensions == (40, 28)
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    assert (tmp_path / "o.html").exists()
    again = run_app(*arguments, "--mpp", "0.5", way)
    assert (again.code, "exists" in again.err) == (1, True)


def test_the_scale_is_the_cascades_own_or_given(
    run_app: RunApp, arguments: tuple[str | Path, ...], model: Path, tmp_path: Path
) -> None:
    unknown = run_app(*arguments)
    assert (unknown.code, "give --mpp" in unknown.err) == (1, True)
    told = tmp_path / "told"
    shutil.copytree(model / "low", told)
    text = (told / "model.toml").read_text()
    (told / "model.toml").write_text(f"{text}\n[provenance]\nmpp = 0.25\n")
    assert run_app(*arguments, "--model", told).code == 0
    assert float(openslide.OpenSlide(tmp_path / "o.tiff").properties["openslide.mpp-x"]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("folder", "words"),
    [("high", "unconditional"), (".", "holds a model of kind 'urcdm', wanted 'cascade'"), ("none", "model.toml")],
)
def test_what_is_no_unconditional_cascade_is_refused(
    run_app: RunApp, arguments: tuple[str | Path, ...], model: Path, tmp_path: Path, folder: str, words: str
) -> None:
    refused = run_app(*arguments, "--mpp", "0.5", "--model", model / folder)
    assert refused.code == 1
    assert len(refused.err.strip().splitlines()) == 1
    assert words in refused.err
    assert not list(tmp_path.iterdir())


def test_an_outpainting_goes_on_only_with_the_same_overlap_and_scale(
    run_app: RunApp, arguments: tuple[str | Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.SlideRun.write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_app(*arguments, "--mpp", "0.5").code == 130
    other = run_app(*arguments, "--mpp", "0.5", "--resume", "--overlap", "0.25")
    assert (other.code, "overlap = 0.125, not 0.25" in other.err) == (1, True)
    other = run_app(*arguments, "--mpp", "0.25", "--resume")
    assert (other.code, "mpp = 0.5, not 0.25" in other.err) == (1, True)
    assert run_app(*arguments, "--mpp", "0.5", "--resume").code == 0
    assert not (tmp_path / "o.canvas").exists()
