"""A cascade of diffusion models: sampled stage by stage, kept on disk as a folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cdm_core.checks import NOISY_RANGE, check_finite, check_floats, check_shape, check_values, is_on_host
from cdm_core.config import CascadeConfig
from cdm_core.config_file import dump_config, parse_config
from cdm_core.devices.host_batch import copied_to
from cdm_core.errors import ConfigError
from cdm_core.model_folder import (
    MODEL_FILE,
    check_no_model,
    checkpoint_errors,
    load_weights,
    open_model_folder,
    read_model_file,
    write_model_file,
    write_weights,
)
from cdm_core.networks.family import family_of_tensors, network_name, require_network
from cdm_core.stages.build import build_unet
from cdm_core.stages.stage import sample_stage
from cdm_core.stages.widen import widen
from run_folder import whole_file


class Cascade:
    """Networks that make an image in stages, each larger than the last.

    Args:
        config: The stages.
        unets: One network a stage; fresh weights if not given.
        provenance: Where the weights come from: data, steps, date, code version.

    Raises:
        ValueError: Not as many networks as stages.
    """

    def __init__(
        self,
        config: CascadeConfig,
        unets: Sequence[nn.Module] | None = None,
        provenance: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.config = config
        self.unets = list(unets) if unets is not None else [build_unet(stage) for stage in config.stages]
        if len(self.unets) != len(config.stages):
            raise ValueError(f"a cascade of {len(config.stages)} stages has as many networks, got {len(self.unets)}")
        self.provenance = dict(provenance or {})
        for unet in self.unets:
            # channels_last halves the time of a step on a CPU
            unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.unets[0].parameters()).device

    def to(self, device: torch.device | str) -> "Cascade":
        """Moves the networks, and returns the cascade."""
        for unet in self.unets:
            unet.to(device)
        return self

    def sample(
        self,
        generators: Sequence[torch.Generator],
        *,
        lowres: Tensor | None = None,
        cond_images: Tensor | None = None,
        embedding: Tensor | None = None,
        steps: int | Sequence[int] | None = None,
        guidance: float | None = None,
    ) -> list[Tensor]:
        """Samples every stage in turn, one image for each generator; images are in [0, 1].

        Conditions may be on another device than the networks: they are copied there, and a GPU is not waited for.

        Args:
            generators: One for each image.
            lowres: What the first stage enlarges, if it does, (B, 3, s, s).
            cond_images: Contexts or masks, (B, C, S, S) at the last stage's size; resized with antialiasing for the
                stages before.
            embedding: Of a tissue type or the like, (B, D).
            steps: Number of steps of each stage; its own if not given.
            guidance: Weight of the embedding; each stage's own if not given.

        Returns:
            The images of each stage, (B, 3, S, S), smallest first. Where a stage is `truncated`, the images of the one
            before still have noise.

        Raises:
            ValueError: No generator; not as many `steps` as stages; or a condition that a stage does not take or
                misses, or one of another shape; or, of a tensor in the host's memory, values that are not finite, or
                far outside [0, 1].
        """
        if not generators:
            raise ValueError("wanted a generator for each image, got none")
        stages = self.config.stages
        each_steps = (steps,) * len(stages) if isinstance(steps, int | None) else tuple(steps)
        if len(each_steps) != len(stages):
            raise ValueError(f"wanted steps for each of {len(stages)} stages, got {len(each_steps)}")
        if cond_images is not None:
            images_px = stages[-1].image_px
            check_shape(
                "cond_images", check_floats("cond_images", cond_images), (len(generators), "C", images_px, images_px)
            )
            if is_on_host(cond_images):
                check_values("cond_images", cond_images, low=NOISY_RANGE[0], high=NOISY_RANGE[1])
            cond_images = copied_to(self.device, cond_images)  # once for all stages
        if embedding is not None:
            check_floats("embedding", embedding)
            if is_on_host(embedding):
                check_finite("embedding", embedding)
            embedding = copied_to(self.device, embedding)
        images: list[Tensor] = []
        for i, config in enumerate(stages):
            if guidance is not None:
                if guidance != 1 and config.unet.text_embed_dim is None:
                    raise ValueError("guidance weighs an embedding: the network has none, set unet.text_embed_dim")
                config = replace(config, sampling=replace(config.sampling, guidance=guidance))
            following = stages[i + 1].sampling if i + 1 < len(stages) else None
            lowres = sample_stage(
                self.unets[i],
                config,
                generators=generators,
                lowres=lowres,
                cond_images=None if cond_images is None else _resized(cond_images, config.image_px),
                embedding=embedding,
                steps=each_steps[i],
                until=following.lowres_noise if following is not None and following.truncated else 0.0,
                lowres_is_noised=i > 0 and config.sampling.truncated,
            )
            images.append(lowres)
        return images

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False) -> None:
        """Writes `model.toml` and one safetensors file a stage into a folder, which is made if missing.

        The files appear together when all are whole: if the writing fails, a model that was there stays as it was.

        Args:
            folder: The folder to write.
            dtype: In which precision the weights are stored.
            overwrite: Replace a model that is there.

        Raises:
            CheckpointError: The folder holds a model that is not to be overwritten, or cannot be written; or a weight
                is not finite in that precision.
        """
        weights = (unet.state_dict() for unet in self.unets)
        for _ in write_cascade(folder, self.config, weights, self.provenance, dtype=dtype, overwrite=overwrite):
            pass

    @classmethod
    def load(cls, folder: Path) -> "Cascade":
        """Reads a cascade from its folder, in float32 on the CPU.

        Raises:
            CheckpointError: A file is missing, truncated or not a cascade's, its tensors are not the network's, or the
                networks are of another family of imagen-pytorch than the one installed.
            ConfigError: `model.toml` has an unknown key or a wrong value.
        """
        values = read_model_file(folder, kind="cascade")
        network = values.pop("network", network_name("2"))  # the first folders do not have it
        require_network(network, str(folder / MODEL_FILE))
        provenance = values.pop("provenance", {})
        if not isinstance(provenance, dict):
            raise ConfigError(f"{folder / MODEL_FILE}: provenance: should be a table")
        cascade = cls(parse_config(CascadeConfig, values, str(folder / MODEL_FILE)), provenance=provenance)
        for i, unet in enumerate(cascade.unets):
            load_weights(unet, folder / _weights_name(i))
        return cascade


def write_cascade(
    folder: Path,
    config: CascadeConfig,
    weights: Iterable[Mapping[str, Tensor]],
    provenance: Mapping[str, str | int | float],
    *,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Writes the folder of a cascade whose networks need not be in memory together.

    Args:
        folder: The folder to write; made if missing.
        config: The stages.
        weights: Of each stage, by name; each is asked for when the one before is written.
        provenance: Where they come from.
        dtype: In which precision they are stored.
        overwrite: Replace a model that is there.

    Yields:
        The path of each file of weights, when it is written; the files appear under these names, and the folder is a
        model, after the last one.

    Raises:
        CheckpointError: The folder holds a model that is not to be overwritten, or cannot be written; or a weight is
            not finite in that precision.
    """
    check_no_model(folder, overwrite=overwrite)
    family = None
    with checkpoint_errors(folder), ExitStack() as whole:
        for i, tensors in enumerate(weights):
            family = family or family_of_tensors(tensors)
            path = folder / _weights_name(i)
            write_weights(tensors, whole.enter_context(whole_file(path)), dtype=dtype, source=str(path))
            yield path
        # from here on old and new files could be mixed, were the folder still a model
        open_model_folder(folder, overwrite=overwrite)
    network = {"network": network_name(family)} if family else {}
    origin = {"provenance": dict(provenance)} if provenance else {}
    write_model_file(folder, kind="cascade", values={**network, **origin, **dump_config(config)})


def widen_cascade(cascade: Cascade, channels: int) -> Cascade:
    """Adds channels to the images that every stage is conditioned on, as `widen` does; the cascade stays as it is.

    Raises:
        ValueError: No channel to add.
    """
    stages = zip(cascade.config.stages, cascade.unets, strict=True)
    configs, unets = zip(*(widen(config, unet, channels) for config, unet in stages), strict=True)
    return Cascade(CascadeConfig(configs), unets, cascade.provenance)


def _resized(images: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


def _weights_name(stage: int) -> str:
    return f"stage-{stage + 1}.safetensors"
