from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cdm_core import Cascade, CheckpointError, ConfigError, StageConfig, build_unet
from cdm_core.networks import family
from cdm_core.networks.family import INSTALL, family_of_tensors, family_of_version, installed_version, require_family

HERE = family_of_version(installed_version())
ELSEWHERE = sorted(INSTALL.keys() - {HERE})


def model_file(folder: Path) -> str:
    return (folder / "model.toml").read_text()


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        Cascade.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("1.18.5", "1"),
        ("1.21.6", "1"),
        ("1.22.0", "1.22"),
        ("1.26.3", "1.22"),
        ("2.0.0", "2"),
        ("2.1.0", "2"),
        ("2.10.0.dev1", "2"),
        ("3.0", None),
        ("latest", None),
    ],
)
def test_a_version_tells_its_family(version: str, found: str | None) -> None:
    assert family_of_version(version) == found


def test_tensors_tell_the_family_of_a_network(tiny_stage: Callable[..., StageConfig]) -> None:
    assert family_of_tensors(build_unet(tiny_stage()).state_dict()) == HERE
    assert family_of_tensors(nn.Linear(1, 1).state_dict()) is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["mid_block1.block1.groupnorm.weight"], "1"),
        (["mid_block1.block1.groupnorm.weight", "attn_pool.layers.0.0.q_scale"], "1.22"),
        (["mid_block1.block1.norm.gamma", "attn_pool.layers.0.0.q_scale"], "2"),
    ],
)
def test_each_family_has_its_own_names(names: list[str], found: str) -> None:
    assert family_of_tensors(names) == found


def test_a_saved_cascade_tells_its_family(cascade: Cascade, tmp_path: Path) -> None:
    cascade.save(tmp_path)
    assert f'network = "imagen-pytorch {HERE}"' in model_file(tmp_path)
    Cascade.load(tmp_path)


@pytest.mark.parametrize("other", ELSEWHERE)
def test_a_cascade_of_another_family_tells_which_version_to_install(
    cascade: Cascade, tmp_path: Path, other: str
) -> None:
    cascade.save(tmp_path)
    text = model_file(tmp_path).replace(f"imagen-pytorch {HERE}", f"imagen-pytorch {other}")
    (tmp_path / "model.toml").write_text(text)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'model.toml'}: networks of imagen-pytorch {other}, which are not those of {installed_version()}, "
        f"which is installed; run: pip install '{INSTALL[other]}'"
    )


def test_a_folder_that_does_not_tell_is_of_the_first_that_there_was(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cascade.save(tmp_path)
    (tmp_path / "model.toml").write_text(model_file(tmp_path).replace(f'network = "imagen-pytorch {HERE}"\n', ""))
    monkeypatch.setattr(family, "installed_version", lambda: "1.18.5")
    assert "run: pip install 'imagen-pytorch>=2.1,<3'" in refusal(tmp_path)
    monkeypatch.setattr(family, "installed_version", lambda: "2.1.0")
    if HERE == "2":
        Cascade.load(tmp_path)


@pytest.mark.parametrize("network", ['"imagen-pytorch 7"', '"diffusers 2"', "2", '"imagen-pytorch 1\\n"'])
def test_an_unknown_family_is_refused(cascade: Cascade, tmp_path: Path, network: str) -> None:
    cascade.save(tmp_path)
    (tmp_path / "model.toml").write_text(model_file(tmp_path).replace(f'"imagen-pytorch {HERE}"', network))
    message = refusal(tmp_path)
    assert f"model.toml: networks of {network}".replace('"', "'") in message
    assert "known are imagen-pytorch 1, imagen-pytorch 1.22, imagen-pytorch 2; update cdm-core" in message


def test_weights_of_another_family_in_the_folder_are_found(cascade: Cascade, tmp_path: Path) -> None:
    cascade.save(tmp_path)
    path = tmp_path / "stage-1.safetensors"
    norms = ("block1.norm.gamma", "block1.groupnorm.weight")
    ours, theirs = norms if HERE == "2" else norms[::-1]
    tensors = {name.replace(ours, theirs): value for name, value in load_file(path).items()}
    path.unlink()
    save_file(tensors, path)
    message = refusal(tmp_path)
    assert "stage-1.safetensors: networks of imagen-pytorch" in message
    assert "run: pip install 'imagen-pytorch" in message


def test_without_the_library_the_error_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise family.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(family.importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"not installed; run: pip install 'imagen-pytorch>=2.1,<3'"):
        require_family("2", "model")


def test_networks_with_group_norms_have_widths_in_eights(tiny_stage: Callable[..., StageConfig]) -> None:
    config = tiny_stage({"dim": 12})
    if HERE == "2":
        assert build_unet(config)(torch.zeros(1, 3, 8, 8), torch.zeros(1)).shape == (1, 3, 8, 8)
    else:
        with pytest.raises(ConfigError, match=r"unet.dim 12: imagen-pytorch .* wants a multiple of 8"):
            build_unet(config)
