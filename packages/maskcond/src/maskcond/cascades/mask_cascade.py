"""The mask-conditioned cascade: images from masks and, if it was trained with them, conditions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from cdm_core import Cascade, CascadeConfig, CheckpointError
from cdm_core.config_file import STRICT, dump_config, parse_config
from cdm_core.model_folder import MODEL_FILE, open_model_folder, read_model_file, write_model_file
from maskcond.cascades.mask_channels import MaskChannels, Shows
from maskcond.conditions import ConditionSet, Given
from maskcond.errors import ConditionError, MaskError
from maskcond.masks.arrays import Labels
from maskcond.masks.classes import ClassSet, MaskClass
from maskcond.masks.codec import MaskCodec

KIND = "mask-cascade"


@dataclass(frozen=True, config=STRICT)
class MaskInput:
    """The inputs of a mask-conditioned cascade, as its file stores them.

    Args:
        classes: Classes of the masks, in the order of their numbers.
        conditions: The tables of `ConditionSet.plain`; empty for a cascade that takes masks only.
        shows: What the channels of the masks show, see `MaskChannels`; None: the classes.

    Raises:
        ValueError: The classes or the conditions are invalid, or the classes cannot be shown so.
    """

    classes: tuple[MaskClass, ...]
    conditions: tuple[dict[str, Any], ...] = ()
    shows: Shows | None = None

    def __post_init__(self) -> None:
        _ = self.channels, self.schema

    @classmethod
    def of(cls, classes: ClassSet, conditions: ConditionSet | None = None, shows: Shows | None = None) -> "MaskInput":
        """Makes the input of classes and conditions, and of what the channels show."""
        return cls(classes.classes, () if conditions is None else tuple(conditions.plain()), shows)

    @property
    def codec(self) -> MaskCodec:
        """The codec of the masks."""
        return MaskCodec(ClassSet(self.classes))

    @property
    def channels(self) -> MaskChannels:
        """The channels of the masks."""
        return MaskChannels(self.codec, self.shows)

    @property
    def schema(self) -> ConditionSet | None:
        """The conditions, or None."""
        return ConditionSet.from_plain(self.conditions) if self.conditions else None

    def check_cascade(self, cascade: CascadeConfig) -> None:
        """Checks that every stage of a cascade takes the masks and the conditions.

        Raises:
            ValueError: A stage does not.
        """
        wanted = self.channels.count
        width = None if self.schema is None else self.schema.width
        for stage in cascade.stages:
            if stage.unet.cond_images_channels != wanted:
                raise ValueError(
                    f"the stage of {stage.image_px} px takes {stage.unet.cond_images_channels} channels of images; "
                    f"masks have {wanted}, with one for 'a mask is given'"
                )
            if stage.unet.text_embed_dim != width:
                raise ValueError(
                    f"the stage of {stage.image_px} px has text_embed_dim = {stage.unet.text_embed_dim}; "
                    f"the conditions need {width}"
                )


class MaskCascade:
    """A cascade whose stages are conditioned on a mask at their own resolution, with its codec and conditions.

    Args:
        classes: Classes of the masks.
        cascade: Its networks; `cond_images` are the channels of `MaskChannels`.
        conditions: Conditions besides the mask; None: no conditions.
        provenance: Origin of the weights; by default, the cascade's.
        shows: What the channels of the masks show, see `MaskChannels`; None: the classes.

    Raises:
        ValueError: A stage of the cascade takes other inputs, or the classes cannot be shown so.
    """

    def __init__(
        self,
        classes: ClassSet,
        cascade: Cascade,
        conditions: ConditionSet | None = None,
        provenance: Mapping[str, str | int | float] | None = None,
        shows: Shows | None = None,
    ) -> None:
        self.input = MaskInput.of(classes, conditions, shows)
        self.input.check_cascade(cascade.config)
        self.codec, self.conditions, self.cascade = MaskCodec(classes), conditions, cascade
        self.provenance = dict(cascade.provenance if provenance is None else provenance)

    @property
    def image_px(self) -> int:
        """Side of the sampled images."""
        return self.cascade.config.stages[-1].image_px

    def to(self, device: torch.device | str) -> "MaskCascade":
        """Moves the networks, and returns the model."""
        self.cascade.to(device)
        return self

    def sample(
        self,
        masks: Sequence[Labels | None],
        generators: Sequence[torch.Generator],
        *,
        given: Sequence[Given] | None = None,
        steps: int | Sequence[int] | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """Samples a batch of images, one for each mask; see `maskcond.sample_images` for many.

        Args:
            masks: Labels (H, H) of any size; None samples as the unconditional cascade does.
            generators: One for each image; an image depends on its own generator only.
            given: Conditions of each image; if None, the networks get their null embedding.
            steps: Steps of each stage; by default, the stage's own.
            guidance: Guidance weight; by default, the stage's own.

        Returns:
            (B, 3, S, S) in [0, 1], on the model's device.

        Raises:
            MaskError: A mask is no label image or not square, or the numbers of masks and generators differ.
            ConditionError: The model takes no conditions, their number is not that of the masks, or one is unknown.
        """
        if len(masks) != len(generators):
            raise MaskError(f"each image has a mask and a generator, got {len(masks)} and {len(generators)}")
        channels = torch.stack([self.input.channels.encode(mask, self.image_px) for mask in masks])
        embedding = None if given is None else self._embedding(given, len(masks))
        images = self.cascade.sample(
            generators, cond_images=channels, embedding=embedding, steps=steps, guidance=guidance
        )
        return images[-1]

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False) -> None:
        """Writes the model: `model.toml`, and the cascade's folder `cascade`.

        Args:
            folder: Target; made if missing.
            dtype: Precision of the stored weights.
            overwrite: Replace an existing model.

        Raises:
            CheckpointError: The folder holds a model and `overwrite` is False, or it cannot be written.
        """
        open_model_folder(folder, overwrite=overwrite)
        self.cascade.save(folder / "cascade", dtype=dtype, overwrite=overwrite)
        origin = {"provenance": self.provenance} if self.provenance else {}
        write_model_file(folder, kind=KIND, values={**origin, **dump_config(self.input)})

    @classmethod
    def load(cls, folder: Path) -> "MaskCascade":
        """Reads a model from its folder, in float32 on the CPU.

        Raises:
            CheckpointError: A file is missing or damaged, or the cascade takes other inputs than its file states.
            ConfigError: A `model.toml` has an unknown key or a wrong value.
        """
        values = read_model_file(folder, kind=KIND)
        provenance = values.pop("provenance", {})
        inputs = parse_config(MaskInput, values, str(folder / MODEL_FILE))
        cascade = Cascade.load(folder / "cascade")
        try:
            return cls(inputs.codec.classes, cascade, inputs.schema, provenance, inputs.shows)
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from None

    def _embedding(self, given: Sequence[Given], count: int) -> Tensor:
        if self.conditions is None:
            raise ConditionError("the model was trained without conditions; leave them out")
        if len(given) != count:
            raise ConditionError(f"each mask has conditions of its own, got {len(given)} for {count} masks")
        return torch.stack([torch.from_numpy(self.conditions.encode(each)) for each in given])
