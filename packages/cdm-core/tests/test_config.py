import inspect
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w
import torch

from cdm_core import (
    CascadeConfig,
    ConfigError,
    SamplingConfig,
    StageConfig,
    TrainingConfig,
    UnetConfig,
    build_unet,
    sample,
)
from cdm_core.config import Betas
from cdm_core.config_file import dump_config, parse_config
from cdm_core.diffusion.solver import DEFAULT_METHOD, step_weights
from cdm_core.networks.latent import LatentUnetConfig
from cdm_core.testing.tiny import tiny_latent_unet


@pytest.fixture
def values(tiny_stage: Callable[..., StageConfig]) -> dict[str, Any]:
    """A cascade of two stages, as read from a file."""
    return dump_config(CascadeConfig((tiny_stage(), tiny_stage(image_px=16, lowres_px=8))))


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(CascadeConfig, values, "run.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("run.toml: ")
    return message


def test_what_is_written_reads_back_the_same(tiny_stage: Callable[..., StageConfig]) -> None:
    unet = {
        "dim_mults": (1, 2),
        "num_resnet_blocks": (1, 2),
        "layer_attns": (False, True),
        "cond_images_channels": 4,
    }
    upper = tiny_stage(unet, image_px=16, lowres_px=8, schedule="linear", sampling=SamplingConfig(9, "ddim", 0.1))
    config = CascadeConfig((tiny_stage(), upper))
    toml = tomli_w.dumps(dump_config(config))
    assert parse_config(CascadeConfig, tomllib.loads(toml), "model.toml") == config


def test_defaults_fill_what_is_not_given() -> None:
    found = parse_config(CascadeConfig, {"stages": [{"image_px": 64, "unet": {"dim": 128}}]}, "run.toml")
    assert found == CascadeConfig((StageConfig(64, UnetConfig(128)),))


def test_a_latent_network_is_the_same_from_tuples_and_from_a_file() -> None:
    autoencoder = {"block_out_channels": (8, 16), "layers_per_block": 1}
    config = tiny_latent_unet(autoencoder=autoencoder)
    read = parse_config(LatentUnetConfig, tomllib.loads(tomli_w.dumps(dump_config(config))), "model.toml")
    assert (read, repr(read)) == (config, repr(config))


def test_a_boolean_is_no_number(values: dict[str, Any]) -> None:
    values["stages"][1]["sampling"]["steps"] = True
    assert refusal(values) == "run.toml: stages.1.sampling.steps: wanted a number, got true or false"
    del values["stages"][1]["sampling"]["steps"]
    values["stages"][0]["unet"]["dim_mults"] = [True, 2]
    assert refusal(values) == "run.toml: stages.0.unet.dim_mults.0: wanted a number, got true or false"


def test_an_unknown_key_is_answered_with_the_nearest_known_one(values: dict[str, Any]) -> None:
    values["stage"] = []
    assert refusal(values) == "run.toml: unknown key 'stage'; did you mean 'stages'?"


@pytest.mark.parametrize(
    ("table", "wrong", "right"),
    [("unet", "dimm", "dim"), ("unet", "cond_image_channel", "cond_images_channels"), ("sampling", "step", "steps")],
)
def test_nested_unknown_keys_are_told_with_their_place(
    values: dict[str, Any], table: str, wrong: str, right: str
) -> None:
    values["stages"][1][table][wrong] = 1
    assert refusal(values) == f"run.toml: unknown key 'stages.1.{table}.{wrong}'; did you mean '{right}'?"


def test_a_stages_own_unknown_key_is_not_looked_up_in_its_network(values: dict[str, Any]) -> None:
    values["stages"][0]["image_size"] = 8
    assert "'stages.0.image_size'; did you mean 'image_px'" in refusal(values)


@pytest.mark.parametrize(
    ("key", "wrong"), [("image_px", "large"), ("schedule", "sigmoid"), ("objective", "eps"), ("unet", 3)]
)
def test_a_wrong_value_is_one_line_with_its_place(values: dict[str, Any], key: str, wrong: object) -> None:
    values["stages"][1][key] = wrong
    assert f"stages.1.{key}" in refusal(values)


def test_several_faults_are_counted(values: dict[str, Any]) -> None:
    values["stages"][0] |= {"image_px": "large", "max_lowres_noise": "much"}
    assert "stages.0.image_px" in refusal(values)
    assert "(and 1 more)" in refusal(values)


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    del values["stages"][1]["unet"]["dim"]
    assert "stages.1.unet.dim" in refusal(values)


def test_stages_must_fit_each_other(values: dict[str, Any]) -> None:
    values["stages"][1]["lowres_px"] = 4
    assert "enlarges 4 px but the one before makes 8 px" in refusal(values)


def test_a_base_model_cannot_follow_another_stage(tiny_stage: Callable[..., StageConfig]) -> None:
    with pytest.raises(ValueError, match="enlarges None px"):
        CascadeConfig((tiny_stage(), tiny_stage(image_px=16)))


def test_a_cascade_has_a_stage() -> None:
    assert "at least one stage" in refusal({"stages": []})


@pytest.mark.parametrize("lowres_px", [8, 16, 0, -1])
def test_a_stage_enlarges(tiny_stage: Callable[..., StageConfig], lowres_px: int) -> None:
    with pytest.raises(ValueError, match=f"lowres_px {lowres_px} must lie between 0 and image_px 8"):
        tiny_stage(lowres_px=lowres_px)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps is at least 1, got 0"),
        ({"method": "ddim", "eta": 1.5}, r"eta lies in \[0, 1\], got 1.5"),
        ({"method": "ddim", "eta": -0.5}, r"eta lies in \[0, 1\], got -0.5"),
        ({"method": "ddpm", "eta": 0.5}, "eta is for method 'ddim', not for 'ddpm'"),
        ({"method": "heun", "eta": 0.5}, "eta is for method 'ddim', not for 'heun'"),
        ({"lowres_noise": 1.2}, r"lowres_noise lies in \[0, 1\], got 1.2"),
        ({"threshold_quantile": 1.01}, r"threshold_quantile lies in \[0, 1\], got 1.01"),
        ({"truncated": True, "lowres_noise": 1.0}, "truncated sampling stops before time 1, got lowres_noise 1.0"),
        ({"threshold": "soft"}, "'static', 'dynamic' or 'none'"),
        ({"method": "euler"}, "'ddpm', 'ddim', 'dpmpp_2m' or 'heun'"),
    ],
)
def test_sampling_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**wrong)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_renews_any_share_of_its_noise(eta: float) -> None:
    assert SamplingConfig(method="ddim", eta=eta).eta == eta


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_lowres_noise": -0.1}, r"max_lowres_noise lies in \[0, 1\], got -0.1"),
        ({"lowres_blur": 2.0}, r"lowres_blur lies in \[0, 1\], got 2.0"),
        ({"lowres_resize": "bicubic"}, "'bilinear' or 'nearest'"),
        ({"sampling": SamplingConfig(truncated=True)}, "set noise_before_resize"),
        ({"sampling": SamplingConfig(guidance=2.0)}, "the network has none, set unet.text_embed_dim"),
    ],
)
def test_settings_of_a_stage_that_do_not_fit_are_refused(
    tiny_stage: Callable[..., StageConfig], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_stage(image_px=16, lowres_px=8, **wrong)


def test_guidance_wants_an_embedding_and_truncation_noise_before_resizing(
    tiny_stage: Callable[..., StageConfig],
) -> None:
    assert tiny_stage({"text_embed_dim": 4}, sampling=SamplingConfig(guidance=2.0)).sampling.guidance == 2
    sampling = SamplingConfig(truncated=True)
    assert tiny_stage(image_px=16, lowres_px=8, noise_before_resize=True, sampling=sampling).sampling.truncated


def test_a_truncated_stage_has_the_noise_schedule_of_the_one_before(tiny_stage: Callable[..., StageConfig]) -> None:
    def upper(lowres_schedule: str) -> StageConfig:
        sampling = SamplingConfig(truncated=True)
        return tiny_stage(
            image_px=16, lowres_px=8, lowres_schedule=lowres_schedule, noise_before_resize=True, sampling=sampling
        )

    CascadeConfig((tiny_stage(schedule="linear"), upper("linear")))
    with pytest.raises(ValueError, match="wants lowres_schedule to be the schedule of the stage before"):
        CascadeConfig((tiny_stage(schedule="linear"), upper("cosine")))


@pytest.mark.parametrize(
    ("table", "wrong", "message"),
    [
        ("sampling", {"truncated": True}, "stages.1: truncated sampling"),
        ("sampling", {"guidance": 3.0}, "stages.1: guidance weighs an embedding"),
        ("sampling", {"eta": 0.5}, "stages.1.sampling: eta is for method 'ddim'"),
        ("unet", {"text_embed_dim": "wide"}, "stages.1.unet.text_embed_dim"),
    ],
)
def test_a_setting_that_does_not_fit_is_told_with_its_place(
    values: dict[str, Any], table: str, wrong: dict[str, Any], message: str
) -> None:
    values["stages"][1][table] |= wrong
    assert message in refusal(values)


@pytest.mark.parametrize(
    "name",
    [
        "steps",
        "batch_size",
        "chunk_size",
        "crop_px",
        "log_every",
        "checkpoint_every",
        "sample_every",
        "validate_every",
        "validation_images",
    ],
)
def test_counts_of_training_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is at least 1, got 0"):
        TrainingConfig(**{"steps": 1, "batch_size": 1, name: 0})


@pytest.mark.parametrize("name", ["drop_embedding", "ema_decay"])
def test_shares_of_training_are_shares(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} lies in \[0, 1\], got 1.5"):
        TrainingConfig(1, 1, **{name: 1.5})


@pytest.mark.parametrize("chunk_size", [None, "auto", 4])
def test_chunks_may_be_sized_by_hand_or_not(chunk_size: Any) -> None:
    assert TrainingConfig(1, 1, chunk_size=chunk_size).chunk_size == chunk_size


@pytest.mark.parametrize(
    ("unet", "factor"),
    [
        ({"dim_mults": (1,)}, 1),
        ({"dim_mults": (1, 2)}, 2),
        ({"dim_mults": (1, 2, 4)}, 4),
        ({"dim_mults": (1,), "memory_efficient": True}, 2),
        ({"dim_mults": (1, 2), "memory_efficient": True}, 4),
    ],
)
def test_a_stage_has_a_side_that_its_network_can_halve(
    tiny_stage: Callable[..., StageConfig], unet: dict[str, Any], factor: int
) -> None:
    for side in range(1, 10):
        network = build_unet(tiny_stage(unet, image_px=8))
        try:
            with torch.no_grad():
                fits = network(torch.zeros(1, 3, side, side), torch.zeros(1)).shape[2:] == (side, side)
        except RuntimeError:
            fits = False
        assert fits == (side % factor == 0)
        if fits:
            assert tiny_stage(unet, image_px=side).unet.factor == factor
        else:
            with pytest.raises(
                ConfigError, match=rf"^StageConfig: image_px {side} is no multiple of {factor}: [^\n]*$"
            ):
                tiny_stage(unet, image_px=side)


@pytest.mark.parametrize("side", [0, -8])
def test_a_stage_has_pixels(tiny_stage: Callable[..., StageConfig], side: int) -> None:
    with pytest.raises(ConfigError, match=f"^StageConfig: image_px is at least 1, got {side}$"):
        tiny_stage(image_px=side)


def test_crops_are_halved_as_images_are(tiny_stage: Callable[..., StageConfig]) -> None:
    pytest.importorskip("accelerate")
    from cdm_core.training.loop import (
        check_training,  # takes seconds to import, which the other tests need not wait for
    )

    stage = tiny_stage({"dim_mults": (1, 2)}, image_px=16)
    check_training(stage, TrainingConfig(1, 1, crop_px=6))
    with pytest.raises(ConfigError, match="crop_px 7 is no multiple of the network's factor 2"):
        check_training(stage, TrainingConfig(1, 1, crop_px=7))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 0}, "dim is at least 1, got 0"),
        ({"dim_mults": ()}, "dim_mults has a number of at least 1 for each resolution"),
        ({"dim_mults": (1, 0)}, "dim_mults has a number of at least 1"),
        ({"num_resnet_blocks": (1, 2, 3)}, "num_resnet_blocks has a value for each of 2 resolutions"),
        ({"layer_attns": (True,)}, "layer_attns has a value for each of 2 resolutions"),
        ({"num_resnet_blocks": 0}, "num_resnet_blocks is at least 1"),
        ({"init_conv_kernel_size": 4}, "init_conv_kernel_size is odd, got 4"),
        ({"cond_images_channels": -1}, "cond_images_channels is at least 0"),
        ({"text_embed_dim": 0}, "text_embed_dim is at least 1"),
        ({"dimm": 8}, r"unknown key 'dimm'; did you mean 'dim'\?"),
        ({"dim": "wide"}, "dim: Input should be a valid integer"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^UnetConfig: {message}[^\n]*$"):
        UnetConfig(**{"dim": 8, "dim_mults": (1, 2), **wrong})


def test_an_argument_by_position_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^TrainingConfig: batch_size: Input should be a valid integer"):
        TrainingConfig(1, "many")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_settings_are_finite(tiny_stage: Callable[..., StageConfig], value: float) -> None:
    for name in ("eta", "lowres_noise", "guidance", "threshold_quantile"):
        with pytest.raises(ConfigError, match=f"^SamplingConfig: {name} "):
            SamplingConfig(method="ddim", **{name: value})
    for name in ("learning_rate", "weight_decay", "ema_decay", "drop_embedding"):
        with pytest.raises(ConfigError, match=f"^TrainingConfig: {name} "):
            TrainingConfig(1, 1, **{name: value})
    for name in ("max_lowres_noise", "lowres_blur"):
        with pytest.raises(ConfigError, match=f"^StageConfig: {name} "):
            tiny_stage(**{name: value})
    with pytest.raises(ConfigError, match="guidance_input goes from"):
        tiny_stage({"text_embed_dim": 4}, guidance_input=(1.0, value))
    with pytest.raises(ConfigError, match=r"^Betas: betas lie between 0 and 1"):
        Betas("linear", 1e-4, value)
    assert TrainingConfig(1, 1, max_grad_norm=float("inf")).max_grad_norm == float("inf")
    for norm in (float("nan"), 0.0, -1.0):
        with pytest.raises(ConfigError, match="max_grad_norm is over 0"):
            TrainingConfig(1, 1, max_grad_norm=norm)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_no_generator_takes(seed: int) -> None:
    with pytest.raises(ConfigError, match="seed is at least 0"):
        TrainingConfig(1, 1, seed=seed)


def test_one_solver_is_the_default_everywhere() -> None:
    defaults = [inspect.signature(function).parameters["method"].default for function in (sample, step_weights)]
    assert [*defaults, SamplingConfig().method] == [DEFAULT_METHOD] * 3
