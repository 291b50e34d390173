from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urcdm import ShardExamples
from urcdm.training.plan_file import read_plan
from wsi_tiling import ShardTiles

RunApp = Callable[..., Any]


def test_every_level_is_exported_as_its_networks_take_it(
    run_app: RunApp, tiles: Path, plan: Path, tmp_path: Path
) -> None:
    out, masks = tmp_path / "shards", tmp_path / "masks"
    masks.mkdir()
    labels = np.arange(400 * 300, dtype=np.uint16).reshape(300, 400)
    Image.fromarray(labels).save(masks / "disc.png")
    arguments = ("export", "--tiles", tiles, "--plan", plan, "--out", out, "--tiles-per-shard", "100")
    exported = run_app(*arguments, "--masks", masks)
    assert exported.code == 0, exported.err
    counts = pd.read_parquet(tiles / "tiles.parquet").groupby("field_l0").size()
    read = read_plan(plan)
    for number, (name, field) in enumerate((("low", 256), ("medium", 64), ("high", 16))):
        shards = ShardTiles(out / name, "train")
        assert len(shards) == counts[field]
        ShardExamples(read, number, 0, shards, seed=0)[0]
        tile, row = shards[0], shards.frame.iloc[0]
        assert tile["mask"].dtype == np.uint16
        if field == 16:
            place = np.s_[row["y_l0"] : row["y_l0"] + 16, row["x_l0"] : row["x_l0"] + 16]
            np.testing.assert_array_equal(tile["mask"], labels[place])

    again = run_app(*arguments, "--masks", masks)
    assert (again.code, "--resume" in again.err, "--overwrite" in again.err) == (1, True, True)
    other = run_app(*arguments, "--masks", masks, "--resume", "--seed", "1")
    assert (other.code, "seed 0, not 1" in other.err) == (1, True)
    written = (out / "high" / "train-000000.tar").stat().st_mtime_ns
    assert run_app(*arguments, "--masks", masks, "--resume").code == 0
    assert (out / "high" / "train-000000.tar").stat().st_mtime_ns == written
    jpeg = run_app(*arguments, "--overwrite", "--format", "jpeg", "--level", "high", "--contexts", "2")
    assert jpeg.code == 0, jpeg.err
    assert ShardTiles(out / "high").contexts_l0 == (64, 256)
    assert "mask" not in ShardTiles(out / "high")[0]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--level", "higher"), ("--level higher", "low, medium, high")),
        (("--tiles", "none"), ("none", "no such file")),
        (("--masks", "none"), ("--masks none", "no such folder")),
        (("--masks", "."), ("'disc' has no label image",)),
        (("--masks", "twice"), ("two label pictures for 'disc'",)),
    ],
)
def test_what_cannot_be_exported(
    run_app: RunApp,
    tiles: Path,
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("twice").mkdir()
    for name in ("disc.png", "disc.tif"):
        (Path("twice") / name).write_bytes(b"")
    failed = run_app("export", "--tiles", tiles, "--plan", plan, "--out", "shards", *option)
    assert failed.code == 1
    assert len(failed.err.strip().splitlines()) == 1, failed.err
    assert all(word in failed.err for word in words), failed.err
    assert not Path("shards").exists()
