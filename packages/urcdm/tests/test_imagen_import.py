"""Models from checkpoints of imagen-pytorch, against the models that the weights are of."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_core import Cascade, CascadeConfig, CheckpointError, TrainingConfig, build_unet, save_imagen_checkpoint
from cdm_core.networks.family import installed_version
from cdm_core.networks.imagen_offline import imagen_module
from cdm_core.networks.weights import check_tensors
from urcdm import NetworkPlan, TrainingPlan, Urcdm, import_imagen
from urcdm.presets import PLANS

pytestmark = pytest.mark.once

Files = dict[str, list[Path]]


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Urcdm]) -> Urcdm:
    """Three levels with two, two and one network."""
    return make_model()


@pytest.fixture(scope="module")
def plan(model: Urcdm) -> TrainingPlan:
    networks = [
        NetworkPlan(level.name, stage, TrainingConfig(steps=1, batch_size=1))
        for level, cascade in zip(model.config.levels, model.cascades, strict=True)
        for stage in cascade.config.stages
    ]
    return TrainingPlan(model.config, tuple(networks))


@pytest.fixture(scope="module")
def written(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, files = tmp_path_factory.mktemp("networks"), Files()
    for level, cascade in zip(model.config.levels, model.cascades, strict=True):
        files[level.name] = [folder / f"{level.name}.{letter}.pt" for letter in "ab"[: len(cascade.unets)]]
        for path, stage, unet in zip(files[level.name], cascade.config.stages, cascade.unets, strict=True):
            save_imagen_checkpoint(Cascade(CascadeConfig((stage,)), [unet], {"stage_1_steps": 7}), path)
    return files


@pytest.fixture
def by_network(written: Files) -> Files:
    """A file for each network, named freely; those that enlarge have a `NullUnet` before them."""
    return {name: list(paths) for name, paths in written.items()}


def test_files_of_one_network_each_make_the_model(
    model: Urcdm, plan: TrainingPlan, by_network: Files, tmp_path: Path
) -> None:
    names = import_imagen(plan, by_network, tmp_path / "new" / "model", provenance={"by": "me"})
    assert list(names) == ["low-8", "low-16", "medium-8", "medium-16", "high-16"]
    found = Urcdm.load(tmp_path / "new" / "model")
    assert found.fingerprint() == model.fingerprint()
    assert found.provenance["by"] == "me"
    line = f"medium.b.pt, U-Net 2, 7 steps, imagen-pytorch {installed_version()}, SHA-256 "
    assert str(found.provenance["medium-16"]).startswith(line)
    assert found.cascades[1].provenance["stage_2_file"] == "medium.b.pt"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]


def test_a_file_of_each_level_makes_the_model(model: Urcdm, plan: TrainingPlan, tmp_path: Path) -> None:
    files: Files = {}
    for level, cascade in zip(model.config.levels, model.cascades, strict=True):
        files[level.name] = [tmp_path / f"{level.name}.pt"]
        save_imagen_checkpoint(cascade, tmp_path / f"{level.name}.pt")
    list(import_imagen(plan, files, tmp_path / "model"))
    assert Urcdm.load(tmp_path / "model").fingerprint() == model.fingerprint()


def test_levels_that_share_their_networks_take_one_file(model: Urcdm, plan: TrainingPlan, tmp_path: Path) -> None:
    (stage,) = model.cascades[2].config.stages
    last = replace(plan.networks[-1], level="shared", stage=replace(stage, unet=replace(stage.unet, text_embed_dim=2)))
    shared = TrainingPlan(replace(plan.urcdm, weights="shared"), (*plan.of_level(0), last))
    cascades = [model.cascades[0], Cascade(shared.cascade(1))]
    files = {name: [tmp_path / f"{name}.pt"] for name in ("low", "shared")}
    for cascade, (path,) in zip(cascades, files.values(), strict=True):
        save_imagen_checkpoint(cascade, path)
    assert list(import_imagen(shared, files, tmp_path / "model")) == ["low-8", "low-16", "shared-16"]
    wanted = Urcdm(shared.urcdm, [*cascades, cascades[1]])
    assert Urcdm.load(tmp_path / "model").fingerprint() == wanted.fingerprint()


def test_weights_are_stored_in_the_precision_asked_for(
    model: Urcdm, plan: TrainingPlan, by_network: Files, tmp_path: Path
) -> None:
    list(import_imagen(plan, by_network, tmp_path / "half", dtype=torch.float16))
    model.save(tmp_path / "saved", dtype=torch.float16)
    assert Urcdm.load(tmp_path / "half").fingerprint() == Urcdm.load(tmp_path / "saved").fingerprint()


def test_weights_of_another_network_are_named_and_nothing_is_left(
    plan: TrainingPlan, by_network: Files, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    by_network["medium"][1] = by_network["low"][1]  # the first level's networks have no context
    message = (
        r"level 'medium': .*low\.b\.pt: U-Net 2 \(ema weights\) as the one of 16 px: tensor '\S+' is \(.*other net"
    )
    with pytest.raises(CheckpointError, match=message) as caught:
        list(import_imagen(plan, by_network, tmp_path / "model"))
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_is_replaced_when_the_new_one_is_whole(
    model: Urcdm, plan: TrainingPlan, by_network: Files, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.toml").write_text('format = 1\nkind = "urcdm"\n')
    with pytest.raises(FileExistsError):
        list(import_imagen(plan, by_network, folder))
    stopped = import_imagen(plan, by_network, folder, overwrite=True)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError):
        list(import_imagen(plan, by_network | {"high": [tmp_path / "none.pt"]}, folder, overwrite=True))
    assert [path.name for path in folder.iterdir()] == ["model.toml"]
    list(import_imagen(plan, by_network, folder, overwrite=True))
    assert Urcdm.load(folder).fingerprint() == model.fingerprint()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["notes.txt", "high/mine.png", "more/model.toml", "low/sub/x"])
def test_what_is_not_a_model_alone_is_not_replaced(
    model: Urcdm, plan: TrainingPlan, by_network: Files, tmp_path: Path, name: str
) -> None:
    model.save(tmp_path / "model")
    mine = tmp_path / "model" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(CheckpointError, match="is not part of a model"):
        list(import_imagen(plan, by_network, tmp_path / "model", overwrite=True))
    assert mine.read_text() == "mine"


def test_every_level_has_files(plan: TrainingPlan, by_network: Files, tmp_path: Path) -> None:
    del by_network["high"]
    with pytest.raises(ValueError, match="the levels low, medium, high, got low, medium"):
        list(import_imagen(plan, by_network, tmp_path / "model"))


@pytest.mark.parametrize("name", ["study", "study-code"])
@pytest.mark.parametrize("level", [0, 1])
def test_the_studys_networks_as_the_library_makes_them_fit_its_plan(name: str, level: int) -> None:
    """At full size, without memory for their weights."""
    module = imagen_module()
    images = {"cond_dim": 512, "cond_images_channels": 3 if level else 0}
    upper = {"dim": 128, "dim_mults": (1, 2, 4, 8), "init_conv_to_final_conv_residual": True, "memory_efficient": True}
    last = (2, 4, 4, 4) if name == "study" else (2, 4, 6, 8)
    rows: list[dict[str, Any]] = [
        {"dim": 256, "dim_mults": (1, 2, 3, 4), "num_resnet_blocks": 3},
        {**upper, "num_resnet_blocks": 2, "layer_attns": (False, False, False, True)},
        {**upper, "num_resnet_blocks": last, "layer_attns": False, "layer_cross_attns": (False, False, False, True)},
    ]
    rows[0]["layer_attns"] = rows[0]["layer_cross_attns"] = (False, True, True, True)
    rows[1]["layer_cross_attns"] = (False, False, True, True)
    with torch.device("meta"):
        imagen = module.Imagen(
            [module.Unet(**row, **images) for row in rows], image_sizes=(64, 256, 1024), condition_on_text=False
        )
        networks = [build_unet(stage) for stage in PLANS[name].cascade(level).stages]
    for network, unet in zip(networks, imagen.unets, strict=True):
        check_tensors(network, unet.state_dict(), "the library's")
    with pytest.raises(CheckpointError, match="the weights are of another network"):
        check_tensors(networks[1], imagen.unets[2].state_dict(), "the library's")
