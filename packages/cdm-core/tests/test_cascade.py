from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cdm_core import (
    Cascade,
    CascadeConfig,
    CheckpointError,
    ConfigError,
    SamplingConfig,
    Schedule,
    StageConfig,
    draw_noise,
    sample_stage,
)
from cdm_core import cascade as cascade_module
from cdm_core import model_folder as model_folder_module
from cdm_core.stages.lowres import enlarge

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
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


def test_conditions_are_resized_for_every_stage(tiny_stage: Stage, generators: Generators) -> None:
    unet = {"cond_images_channels": 1}
    cascade = Cascade(CascadeConfig((tiny_stage(unet), tiny_stage(unet, image_px=16, lowres_px=8))))
    images = cascade.sample(generators(0), cond_images=torch.ones(1, 1, 16, 16), steps=1)
    assert [image.shape[-1] for image in images] == [8, 16]


def calls_of(unet: nn.Module) -> list[dict[str, Any]]:
    """What a network is called with from now on."""
    calls: list[dict[str, Any]] = []

    def note(_unet: nn.Module, args: tuple[Tensor, ...], conditions: dict[str, Any]) -> None:
        calls.append({"log_snr": args[1], **conditions})

    unet.register_forward_pre_hook(note, with_kwargs=True)
    return calls


@pytest.mark.parametrize(("steps", "calls"), [(None, (4, 4)), (3, (3, 3)), ((5, 2), (5, 2)), ([1, 6], (1, 6))])
def test_each_stage_runs_its_own_number_of_steps(
    cascade: Cascade, generators: Generators, steps: Any, calls: tuple[int, int]
) -> None:
    seen = [calls_of(unet) for unet in cascade.unets]
    cascade.sample(generators(0), steps=steps)
    assert tuple(map(len, seen)) == calls


def test_sampling_no_image_is_refused(cascade: Cascade) -> None:
    with pytest.raises(ValueError, match="wanted a generator for each image"):
        cascade.sample([])


@pytest.mark.parametrize("steps", [(3,), (3, 2, 1), ()])
def test_as_many_numbers_of_steps_as_stages_are_wanted(
    cascade: Cascade, generators: Generators, steps: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=f"wanted steps for each of 2 stages, got {len(steps)}"):
        cascade.sample(generators(0), steps=steps)


def truncated_cascade(tiny_stage: Stage, random_unet: Unet) -> Cascade:
    """8 px that are left with noise, then 16 px that are made from them as they are."""
    upper = tiny_stage(
        image_px=16,
        lowres_px=8,
        lowres_schedule="linear",
        noise_before_resize=True,
        sampling=SamplingConfig(4, "ddim", lowres_noise=0.3, truncated=True),
    )
    lower = tiny_stage(schedule="linear", objective="x0", sampling=SamplingConfig(4, "ddim"))
    return Cascade(CascadeConfig((lower, upper)), [random_unet(lower), random_unet(upper)])


def test_a_truncated_stage_takes_the_noisy_image_of_the_one_before_as_it_is(
    tiny_stage: Stage, random_unet: Unet, generators: Generators
) -> None:
    cascade = truncated_cascade(tiny_stage, random_unet)
    lower, upper = cascade.config.stages
    calls = calls_of(cascade.unets[1])
    small, large = cascade.sample(generators(0, 1))
    wanted = sample_stage(cascade.unets[0], lower, generators=generators(0, 1), until=0.3)
    torch.testing.assert_close(small, wanted, rtol=0, atol=0)
    assert len(calls) == 4
    for call in calls:
        torch.testing.assert_close(call["lowres_cond_img"], enlarge(upper, small * 2 - 1), rtol=0, atol=0)
        noisy = Schedule("linear").log_snr(torch.full((2,), 0.3))
        torch.testing.assert_close(call["lowres_noise_times"], noisy, rtol=0, atol=0)
    assert large.min() >= 0
    assert large.max() <= 1


def test_the_image_that_a_truncated_stage_takes_has_the_noise_of_its_time(
    tiny_stage: Stage, random_unet: Unet, generators: Generators
) -> None:
    cascade = truncated_cascade(tiny_stage, random_unet)
    for parameter in cascade.unets[0].final_conv.parameters():
        parameter.zero_()  # an image of x0 = 0, so that all that is left is noise
    small, _ = cascade.sample(generators(0, 1))
    _, sigma = Schedule("linear").alpha_sigma(torch.full((2,), 0.3))
    started = draw_noise((3, 8, 8), generators(0, 1), torch.device("cpu"))
    torch.testing.assert_close(small * 2 - 1, sigma * started, atol=1e-4, rtol=1e-4)
    assert (small < 0).any()  # it is not cut to [0, 1] either


def test_a_first_stage_that_is_truncated_noises_the_clean_image_it_is_given(
    tiny_stage: Stage, random_unet: Unet, generators: Generators
) -> None:
    whole = truncated_cascade(tiny_stage, random_unet)
    upper = Cascade(CascadeConfig(whole.config.stages[1:]), whole.unets[1:])
    calls = calls_of(upper.unets[0])
    upper.sample(generators(0), lowres=torch.full((1, 3, 8, 8), 0.5))
    _, sigma = Schedule("linear").alpha_sigma(torch.full((1,), 0.3))
    fresh = draw_noise((3, 8, 8), generators(0), torch.device("cpu"))
    wanted = enlarge(whole.config.stages[1], sigma * fresh)
    torch.testing.assert_close(calls[0]["lowres_cond_img"], wanted, atol=1e-5, rtol=0)


def test_guidance_can_be_given_for_all_stages(tiny_stage: Stage, random_unet: Unet, generators: Generators) -> None:
    embedded = {"text_embed_dim": 4}
    stages = (tiny_stage(embedded), tiny_stage(embedded, image_px=16, lowres_px=8))
    unets = [random_unet(stage) for stage in stages]
    guided = tuple(replace(stage, sampling=replace(stage.sampling, guidance=3.0)) for stage in stages)
    embedding, cascade = torch.ones(1, 4), Cascade(CascadeConfig(stages), unets)
    found = cascade.sample(generators(0), embedding=embedding, guidance=3.0)
    wanted = Cascade(CascadeConfig(guided), unets).sample(generators(0), embedding=embedding)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    for image, other in zip(found, cascade.sample(generators(0), embedding=embedding), strict=True):
        assert (image - other).abs().mean() > 1e-3
    assert cascade.config.stages[0].sampling.guidance == 1


def test_guidance_and_embeddings_are_for_networks_that_have_them(cascade: Cascade, generators: Generators) -> None:
    with pytest.raises(ValueError, match="guidance weighs an embedding: the network has none"):
        cascade.sample(generators(0), guidance=2.0)
    with pytest.raises(ValueError, match="the stage of 8 px takes no embedding"):
        cascade.sample(generators(0), embedding=torch.zeros(1, 4))
    assert len(cascade.sample(generators(0), guidance=1.0)) == 2


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
        cascade.save(model, overwrite=True)
    torch.testing.assert_close(Cascade.load(model).sample(generators(0)), cascade.sample(generators(0)))


def test_a_model_is_not_overwritten_unasked(cascade: Cascade, model: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(
        CheckpointError, match=r"holds a model; pass overwrite=True to replace it, or use another folder$"
    ):
        cascade.save(model)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    cascade.provenance["steps"] = 8
    cascade.save(model, overwrite=True)
    assert Cascade.load(model).provenance == {"steps": 8}


def test_old_and_new_files_are_never_one_model(cascade: Cascade, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def halted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cascade_module, "write_model_file", halted)
    with pytest.raises(KeyboardInterrupt):
        cascade.save(model, overwrite=True)
    assert "not a model folder, it has no model.toml" in refusal(model)


def test_a_model_that_cannot_be_written_is_told_in_one_line(cascade: Cascade, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", Path("/proc/no-such")):
        with pytest.raises(CheckpointError, match=r"^\S+: cannot be written \([^\n]*\); use another folder$"):
            cascade.save(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_are_not_finite_are_not_saved(cascade: Cascade, tmp_path: Path, value: float) -> None:
    cascade.unets[1].get_parameter("init_conv.bias")[0] = value
    with pytest.raises(
        CheckpointError, match=r"stage-2\.safetensors: tensor 'init_conv.bias' .* not finite in float16"
    ):
        cascade.save(tmp_path / "model", dtype=torch.float16)
    assert not list((tmp_path / "model").iterdir())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_that_are_not_finite_are_not_loaded(model: Path, kind: torch.dtype) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["init_conv.bias"] = torch.full((8,), float("nan"), dtype=kind)

    change_tensors(model / "stage-1.safetensors", spoil)
    assert "stage-1.safetensors: tensor 'init_conv.bias' has values that are not finite" in refusal(model)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_weights_of_a_wrapped_network_are_loaded(
    cascade: Cascade, model: Path, generators: Generators, prefix: str
) -> None:
    path = model / "stage-1.safetensors"
    save_file({prefix + name: value for name, value in load_file(path).items()}, path)
    torch.testing.assert_close(Cascade.load(model).sample(generators(0)), cascade.sample(generators(0)))
    change_tensors(path, lambda tensors: tensors.pop(f"{prefix}init_conv.weight"))
    told = refusal(model)
    assert "tensor 'init_conv.weight' is missing" in told
    assert all(part in told for part in prefix.split("."))


def test_a_wrapped_network_is_saved_under_plain_names(cascade: Cascade, tmp_path: Path) -> None:
    cascade.unets[0] = nn.DataParallel(cascade.unets[0])
    cascade.save(tmp_path / "model")
    Cascade.load(tmp_path / "model")
