from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cdm_core import Cascade, CascadeConfig, CheckpointError, ConfigError, StageConfig, sample_stage
from cdm_core import model_folder as model_folder_module

Generators = Callable[..., list[torch.Generator]]


@pytest.fixture
def model(cascade: Cascade, tmp_path: Path) -> Path:
    """A saved cascade."""
    cascade.save(tmp_path / "model")
    return tmp_path / "model"


def refusal(folder: Path, kind: type[ValueError] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        Cascade.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def change_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def test_every_stage_makes_its_images(cascade: Cascade, generators: Generators) -> None:
    small, large = cascade.sample(generators(0, 1))
    assert small.shape == (2, 3, 8, 8)
    assert large.shape == (2, 3, 16, 16)
    for images in (small, large):
        assert images.min() >= 0
        assert images.max() <= 1


def test_each_stage_enlarges_what_the_one_before_made(cascade: Cascade, generators: Generators) -> None:
    each = generators(0)
    small = sample_stage(cascade.unets[0], cascade.config.stages[0], generators=each)
    large = sample_stage(cascade.unets[1], cascade.config.stages[1], generators=each, lowres=small)
    torch.testing.assert_close(cascade.sample(generators(0)), [small, large], rtol=0, atol=0)


def test_a_cascade_of_upscalers_starts_from_an_image(cascade: Cascade, generators: Generators) -> None:
    upper = Cascade(CascadeConfig(cascade.config.stages[1:]), cascade.unets[1:])
    (large,) = upper.sample(generators(0), lowres=torch.zeros(1, 3, 8, 8))
    assert large.shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="16 px enlarges a low-resolution image"):
        upper.sample(generators(0))


def test_conditions_are_resized_for_every_stage(tiny_stage: Callable[..., StageConfig], generators: Generators) -> None:
    unet = {"cond_images_channels": 1}
    cascade = Cascade(CascadeConfig((tiny_stage(unet), tiny_stage(unet, image_px=16, lowres_px=8))))
    images = cascade.sample(generators(0), cond_images=torch.ones(1, 1, 16, 16), steps=1)
    assert [image.shape[-1] for image in images] == [8, 16]


def test_a_cascade_has_a_network_for_each_stage(cascade: Cascade) -> None:
    with pytest.raises(ValueError, match="2 stages has as many networks, got 1"):
        Cascade(cascade.config, cascade.unets[:1])


def test_a_saved_cascade_makes_the_same_images(cascade: Cascade, model: Path, generators: Generators) -> None:
    loaded = Cascade.load(model)
    assert loaded.config == cascade.config
    assert loaded.provenance == {"steps": 7}
    torch.testing.assert_close(loaded.sample(generators(0)), cascade.sample(generators(0)), rtol=0, atol=0)
    assert sorted(path.name for path in model.iterdir()) == [
        "model.toml",
        "stage-1.safetensors",
        "stage-2.safetensors",
    ]


def test_half_precision_halves_the_files_and_hardly_changes_the_images(
    cascade: Cascade, model: Path, generators: Generators
) -> None:
    half = model.with_name("half")
    cascade.save(half, dtype=torch.float16)
    sizes = [(folder / "stage-2.safetensors").stat().st_size for folder in (half, model)]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = Cascade.load(half)
    assert {parameter.dtype for parameter in loaded.unets[0].parameters()} == {torch.float32}
    for found, wanted in zip(loaded.sample(generators(0)), cascade.sample(generators(0)), strict=True):
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


def test_a_missing_tensor_is_named(model: Path) -> None:
    change_tensors(model / "stage-2.safetensors", lambda tensors: tensors.pop("init_conv.weight"))
    assert "stage-2.safetensors: tensor 'init_conv.weight' is missing" in refusal(model)


def test_a_surplus_tensor_is_named(model: Path) -> None:
    change_tensors(model / "stage-1.safetensors", lambda tensors: tensors.update(extra=torch.zeros(1)))
    assert "stage-1.safetensors: tensor 'extra' is not the network's" in refusal(model)


def test_a_misshaped_tensor_is_named(model: Path) -> None:
    change_tensors(model / "stage-1.safetensors", lambda tensors: tensors.update({"init_conv.bias": torch.zeros(5)}))
    assert "stage-1.safetensors: tensor 'init_conv.bias' is (5,), the network has (8,)" in refusal(model)


def test_weights_of_another_network_are_refused(model: Path) -> None:
    (model / "stage-1.safetensors").replace(model / "stage-2.safetensors")
    assert "stage-1.safetensors: weights not found" in refusal(model)
    (model / "stage-1.safetensors").write_bytes((model / "stage-2.safetensors").read_bytes())
    assert "stage-2.safetensors: tensor" in refusal(model)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(model: Path, kept: int) -> None:
    path = model / "stage-1.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "stage-1.safetensors: not a whole safetensors file" in refusal(model)


def test_a_pickle_under_the_name_is_not_opened(cascade: Cascade, model: Path) -> None:
    torch.save(cascade.unets[0].state_dict(), model / "stage-1.safetensors")
    assert "stage-1.safetensors: not a whole safetensors file" in refusal(model)


def test_a_missing_file_is_named(model: Path) -> None:
    (model / "stage-2.safetensors").unlink()
    assert "stage-2.safetensors: weights not found" in refusal(model)


def test_a_folder_without_a_model_file_is_no_model(tmp_path: Path) -> None:
    assert "not a model folder, it has no model.toml" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "cascade"', 'kind = "mosaic"', "holds a model of kind 'mosaic', wanted 'cascade'"),
        ("format = 1", "format = 2", "not of format 1"),
        ("format = 1", "", "not of format 1"),
        ("format = 1", "format: 1", "cannot be read"),
        ("format = 1", "format = '\udcff'", "cannot be read"),
    ],
)
def test_another_models_file_is_refused(model: Path, old: str, new: str, message: str) -> None:
    path = model / "model.toml"
    path.write_text(path.read_text().replace(old, new), errors="surrogateescape")
    assert f"model.toml: {message}" in refusal(model)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dim = 8", "dimm = 8", "unknown key 'stages.0.unet.dimm'; did you mean 'dim'?"),
        ("dim = 8", 'dim = "wide"', "stages.0.unet.dim"),
        ("[provenance]\nsteps = 7", "provenance = 7", "provenance: should be a table"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(model: Path, old: str, new: str, message: str) -> None:
    path = model / "model.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert f"model.toml: {message}" in refusal(model, ConfigError)


def half_a_save(_tensors: dict[str, Tensor], path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


def test_an_interrupted_save_leaves_no_model(cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder_module, "save_file", half_a_save)
    with pytest.raises(KeyboardInterrupt):
        cascade.save(tmp_path / "model")
    assert not (tmp_path / "model" / "stage-1.safetensors").exists()
    refusal(tmp_path / "model")


def test_an_interrupted_save_leaves_the_model_that_was_there(
    cascade: Cascade, model: Path, generators: Generators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_folder_module, "save_file", half_a_save)
    with pytest.raises(KeyboardInterrupt):
        cascade.save(model)
    torch.testing.assert_close(Cascade.load(model).sample(generators(0)), cascade.sample(generators(0)))
