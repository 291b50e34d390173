import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from urcdm import Urcdm

RunApp = Callable[..., Any]


def test_levels_that_share_networks_are_trained_together_and_drawn(
    run_app: RunApp, picture: Path, plan: Path, tmp_path: Path
) -> None:
    values = tomllib.loads(plan.read_text())
    low, network, _ = values["networks"]
    network |= {"level": "shared"}
    network["stage"]["unet"]["text_embed_dim"] = 2
    values["networks"], values["urcdm"]["weights"] = [low, network], "shared"
    shared, tiles, run = tmp_path / "shared.toml", tmp_path / "tiles", tmp_path / "run"
    shared.write_text(tomli_w.dumps(values))
    for command in (
        ("tile", picture, "--mpp", "0.5", "--plan", shared, "--out", tiles),
        ("train", "--tiles", tiles, "--plan", shared, "--out", run, "--device", "cpu"),
        ("sample", "--model", run / "model", "--out", tmp_path / "new.tiff", "--size", "64", "--device", "cpu"),
    ):
        done = run_app(*command)
        assert done.code == 0, done.err
    assert Urcdm.load(run / "model").provenance["steps"] == "low-16 2 x 2; shared-16 2 x 2"
