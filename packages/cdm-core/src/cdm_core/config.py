"""What a network, a stage and a cascade are: frozen, checked when made, and the same in Python and in `model.toml`."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cdm_core.errors import ConfigError
from cdm_core.objective import Objective
from cdm_core.sampler import Method
from cdm_core.schedule import ScheduleName

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class UnetConfig:
    """Hyperparameters of `imagen_pytorch.Unet`, under that library's names; what is not here keeps its default there.

    Args:
        dim: Channels at full resolution.
        dim_mults: Channels of each resolution, as multiples of dim.
        cond_dim: Width of the condition tokens.
        num_resnet_blocks: Residual blocks of each resolution.
        layer_attns: Self-attention at each resolution.
        layer_cross_attns: Attention to the condition tokens at each resolution.
        attn_heads: Attention heads.
        attn_dim_head: Channels of a head.
        attend_at_middle: Attention at the lowest resolution.
        memory_efficient: Halve the resolution before the blocks of a level rather than after.
        init_conv_to_final_conv_residual: Carry the first convolution's result to the last block.
        init_cross_embed: Three kernel sizes (3, 7, 15) in the first convolution; slow on a CPU.
        init_conv_kernel_size: Kernel of the first convolution without init_cross_embed.
        cond_images_channels: Channels of the images to condition on (contexts, masks).
    """

    dim: int
    dim_mults: tuple[int, ...] = (1, 2, 4, 8)
    cond_dim: int | None = None
    num_resnet_blocks: int | tuple[int, ...] = 1
    layer_attns: bool | tuple[bool, ...] = True
    layer_cross_attns: bool | tuple[bool, ...] = True
    attn_heads: int = 8
    attn_dim_head: int = 64
    attend_at_middle: bool = True
    memory_efficient: bool = False
    init_conv_to_final_conv_residual: bool = False
    init_cross_embed: bool = True
    init_conv_kernel_size: int = 7
    cond_images_channels: int = 0


@dataclass(frozen=True, config=STRICT)
class SamplingConfig:
    """How a stage is sampled unless told otherwise.

    Args:
        steps: Number of denoising steps.
        method: Solver.
        lowres_noise: Time in [0, 1] up to which the low-resolution input is noised.
    """

    steps: int = 250
    method: Method = "ddpm"
    lowres_noise: float = 0.2


@dataclass(frozen=True, config=STRICT)
class StageConfig:
    """One diffusion model of a cascade.

    Args:
        image_px: Side of the images it makes.
        unet: Its network.
        lowres_px: Side of the low-resolution images it enlarges; None for a base model.
        schedule: Noise schedule.
        objective: What its network predicts.
        lowres_schedule: Noise schedule of the low-resolution input.
        max_lowres_noise: Training noises the low-resolution input up to a random time below this.
        sampling: How it is sampled.
    """

    image_px: int
    unet: UnetConfig
    lowres_px: int | None = None
    schedule: ScheduleName = "cosine"
    objective: Objective = "v"
    lowres_schedule: ScheduleName = "cosine"
    max_lowres_noise: float = 0.4
    sampling: SamplingConfig = SamplingConfig()

    def __post_init__(self) -> None:
        """Checks the sizes against each other.

        Raises:
            ValueError: The stage would not enlarge its input.
        """
        if self.lowres_px is not None and not 0 < self.lowres_px < self.image_px:
            raise ValueError(f"lowres_px {self.lowres_px} must lie between 0 and image_px {self.image_px}")


@dataclass(frozen=True, config=STRICT)
class CascadeConfig:
    """A base model and the super-resolution models that follow it.

    Args:
        stages: From the smallest image to the largest. The first may be a super-resolution model too: such a cascade
            starts from an image that it is given.
    """

    stages: tuple[StageConfig, ...]

    def __post_init__(self) -> None:
        """Checks that each stage takes what the one before makes.

        Raises:
            ValueError: No stage, or two stages that do not fit.
        """
        if not self.stages:
            raise ValueError("a cascade has at least one stage")
        for lower, upper in zip(self.stages, self.stages[1:], strict=False):
            if upper.lowres_px != lower.image_px:
                raise ValueError(f"a stage enlarges {upper.lowres_px} px but the one before makes {lower.image_px} px")


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How a stage is trained.

    Args:
        steps: Optimiser steps in all.
        batch_size: Images a step.
        learning_rate: After warm-up; from there it falls to zero along a cosine.
        warmup_steps: Steps in which the learning rate rises from zero.
        ema_decay: Decay of the running mean of the weights, which is what sampling uses.
        max_grad_norm: Norm that gradients are clipped to.
        precision: 'fp32' or 'bf16' (mixed).
        seed: Of the weights, the noise and the data.
        workers: Processes that prepare examples; 0 prepares them between steps.
        log_every: Steps between lines of `log.jsonl`.
        checkpoint_every: Steps between training states on disk.
        sample_every: Steps between sheets of sample pictures.
    """

    steps: int
    batch_size: int
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    workers: int = 0
    log_every: int = 10
    checkpoint_every: int = 500
    sample_every: int = 500

    def __post_init__(self) -> None:
        """Checks the counts.

        Raises:
            ValueError: A count that must be positive is not.
        """
        counts = ("steps", "batch_size", "log_every", "checkpoint_every", "sample_every")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")


def parse_config(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Makes a configuration of the given dataclass from plain values, as read from TOML.

    Args:
        kind: The dataclass.
        values: Its fields, nested.
        source: What the values were read from, for the error's text.

    Raises:
        ConfigError: An unknown key (with the nearest known one), a missing or a wrong value; one line.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        # An unknown key is often a known one misspelt, which is then missing: it is told first.
        first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        if first["type"] == "unexpected_keyword_argument":
            known = _known_keys(kind, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.0)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{source}: unknown key '{where}'{hint}") from None
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {where}: {message}{more}") from None


def dump_config(config: object) -> dict[str, Any]:
    """Returns a configuration's fields as plain values for TOML, without those that are None."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json", exclude_none=True)
    return values


def _known_keys(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """Returns the field names of the dataclass at a place inside `kind`."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for option in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
            if "$ref" in option:
                target: dict[str, Any] = definitions[option["$ref"].rsplit("/", 1)[-1]]
                return target
        return node

    node = resolve(schema)
    for part in location:
        items = node.get("items") or node.get("additionalProperties") or {}
        node = resolve(items if isinstance(part, int) else node.get("properties", {}).get(part, items))
    return list(node.get("properties", {}))
