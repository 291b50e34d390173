"""Every command that writes a folder, pointed at one that holds the user's own files under the names it uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_folder import FolderLock

RunApp = Callable[..., Any]
MINE = (
    "slides/mine.tif",
    "slides/mine.parquet",
    "slides/settings.json",
    "model/model.toml",
    "model.toml",
    "tiles.parquet",
    "summary.json",
    "disc.png",
    "plan.toml",
    "distillation.toml",
    "low-16/state.pt",
    "low-16/samples/0000002.png",
    "high-16/1-steps/state.pt",
    "low/shards.json",
    "low/train-000000.tar",
    "high/model.toml",
    "slide.png",
    "slide.html",
    "slide.canvas/painting.psd",
)


@pytest.fixture(scope="module")
def small_tiles(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from urcdm.training.data import TILE_TABLE
    from urcdm.training.plan_file import read_plan
    from wsi_tiling import find_tiles, open_slide

    folder = tmp_path_factory.mktemp("small")
    pixels = np.random.default_rng(0).integers(60, 200, (256, 256, 3), np.uint8) * np.uint8([1, 0, 1])
    Image.fromarray(pixels).save(folder / "slide.png")
    urcdm = read_plan(plan).urcdm
    with open_slide(folder / "slide.png", mpp=0.5) as slide:
        tables = [find_tiles([slide], field_l0=level.field_l0, rule=urcdm.tissue) for level in urcdm.levels]
    type(tables[0]).concat(tables).save(folder / TILE_TABLE)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def command(picture: Path, plan: Path, model: Path, small_tiles: Path) -> Callable[[str, Path], list[Any]]:
    """The words of each command with a folder as its output."""

    def words(name: str, out: Path) -> list[Any]:
        tiles, planned = ["--tiles", small_tiles], ["--plan", plan]
        return {
            "tile": ["tile", picture, "--mpp", "0.5", *planned, "--out", out],
            "train": ["train", *tiles, *planned, "--out", out, "--device", "cpu"],
            "distill": ["distill", "--model", model, "--to", "1", *tiles, *planned, "--out", out, "--device", "cpu"],
            "export": ["export", *tiles, *planned, "--out", out],
            "import": ["import", "low=x", "medium=x", "high=x", *planned, "--out", out],
            "sample": ["sample", "--model", model, "--size", "48", "--out", out / "slide.tiff", "--device", "cpu"],
        }[name]

    return words


@pytest.mark.parametrize("way", [(), ("--overwrite",), ("--resume",)], ids=["plainly", "overwrite", "resume"])
@pytest.mark.parametrize("name", ["tile", "train", "distill", "export", "import", "sample"])
def test_nothing_of_the_users_is_lost(
    run_app: RunApp, command: Callable[[str, Path], list[Any]], tmp_path: Path, name: str, way: tuple[str, ...]
) -> None:
    if name == "import":  # it has no --resume
        way = tuple(word for word in way if word != "--resume")
    for file in MINE:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(f"mine: {file}")
    before = everything(tmp_path)
    outcome = run_app(*command(name, tmp_path), *way)
    assert outcome.code == 1, outcome.out
    assert outcome.err.startswith("urcdm-app: ")
    assert outcome.err.count("\n") == 1
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["tile", "train", "distill", "export"])
def test_a_second_run_is_refused_before_it_writes(
    run_app: RunApp, command: Callable[[str, Path], list[Any]], tmp_path: Path, name: str
) -> None:
    with FolderLock(tmp_path):
        before = everything(tmp_path)
        for way in ((), ("--overwrite",), ("--resume",)):
            outcome = run_app(*command(name, tmp_path), *way)
            assert (outcome.code, "a run is at work here (process" in outcome.err) == (1, True), outcome.err
        assert everything(tmp_path) == before
