"""The configuration of an ultra-resolution cascade, and the training plan of its networks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic.dataclasses import dataclass

from cdm_core import CascadeConfig, StageConfig, TrainingConfig
from cdm_core.config_file import STRICT
from cdm_core.distillation.finishing import FinishingPlan
from wsi_tiling import TissueRule

ContextKind = Literal["centre", "plain"]
CONTEXT_CHANNELS: dict[ContextKind, int] = {"centre": 6, "plain": 3}
SHARED = "shared"
"""Stands for all levels above the first where they share their networks: in plans, and as the folder in the model."""


@dataclass(frozen=True, config=STRICT)
class Level:
    """One level: one magnification of the cascade.

    Args:
        name: Any name, such as 'low'; also its folder in the model.
        field_l0: Side of the field that one image shows, level-0 px.
        image_px: Side of that image.

    Raises:
        ValueError: The name cannot be a folder's, or a number is not positive and finite.
    """

    name: str
    field_l0: float
    image_px: int

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or not set("/\\*?[]").isdisjoint(self.name):
            raise ValueError(f"a level's name is a folder's, without any of / \\ * ? [ ], got '{self.name}'")
        if not 0 < self.field_l0 < math.inf:
            raise ValueError(f"level '{self.name}': field_l0 is positive and finite, got {self.field_l0}")
        if self.image_px < 1:
            raise ValueError(f"level '{self.name}': image_px is at least 1, got {self.image_px}")

    @property
    def scale(self) -> float:
        """Level-0 px for each pixel of this level."""
        return self.field_l0 / self.image_px


@dataclass(frozen=True, config=STRICT)
class UrcdmConfig:
    """An ultra-resolution cascade.

    Args:
        levels: From the whole slide down to single cells. A single level is sampled by outpainting: its patches hold
            their neighbours' pixels and have no context, see `urcdm.outpainting`.
        mpp: Micrometres a level-0 pixel.
        overlap: Share of a patch that overlaps the next.
        fill: Colour outside the slide, and of bare glass.
        context: 'centre' gives the networks the parent's picture around a patch and, at the stage's full resolution,
            its centre; 'plain' the picture alone, as in the study.
        context_noise: Standard deviation of the noise on the centre when sampling, pixels in [0, 1].
        max_context_noise: Largest noise in training, where it is random: a generated parent differs from a real one.
        max_context_blur: In training, the parent's picture is blurred with Gaussians of 3 x 3 px and random
            standard deviations up to this, in its own pixels: a generated parent may be softer than a real one.
        pad_augment: Share of the training examples in which the fill colour covers the context from some edge on, as
            beyond the edge of a slide. For pictures without a background colour whose tiles rarely lie at an edge.
        tissue: The rule that finds tissue in tiling, training and sampling.
        weights: 'separate': each level has its own networks; 'shared': all levels above the first have the same
            networks, and an embedding of the level.

    Raises:
        ValueError: No level, two of one name, fields that do not shrink, a number outside its range, or levels that
            cannot share networks.
    """

    levels: tuple[Level, ...]
    mpp: float
    overlap: float = 0.125
    fill: tuple[int, int, int] = (242, 243, 242)
    context: ContextKind = "centre"
    context_noise: float = 0.02
    max_context_noise: float = 0.15
    max_context_blur: float = 0.0
    pad_augment: float = 0.0
    tissue: TissueRule = TissueRule()
    weights: Literal["separate", "shared"] = "separate"

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("wanted a level or more, got none")
        if len({level.name for level in self.levels}) < len(self.levels):
            raise ValueError("two levels have the same name")
        for parent, level in zip(self.levels, self.levels[1:], strict=False):
            if not (level.field_l0 < parent.field_l0 and level.scale < parent.scale):
                raise ValueError(f"level '{level.name}' must show less than '{parent.name}', and show it larger")
        if not 0 < self.mpp < math.inf:
            raise ValueError(f"mpp is positive and finite, got {self.mpp}")
        if not 0 <= self.overlap <= 0.5:
            raise ValueError(f"wanted an overlap in [0, 0.5], got {self.overlap}")
        for name in ("context_noise", "max_context_noise", "max_context_blur", "pad_augment"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in [0, 1], got {getattr(self, name)}")
        if not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"fill is a colour of three values from 0 to 255, got {self.fill}")
        if self.weights == "shared":
            self._check_shared()

    def _check_shared(self) -> None:
        """Raises ValueError if the levels above the first cannot share their networks."""
        if len({level.image_px for level in self.levels[1:]}) > 1:
            raise ValueError("levels that share their networks have images of one size")
        if any(level.name == SHARED for level in self.levels):
            raise ValueError(f"weights = 'shared': no level can have the name '{SHARED}'")

    def cascade_name(self, level: int) -> str:
        """The name of a level's cascade in plans, and of its folder in a model."""
        return SHARED if self.shares(level) else self.levels[level].name

    def shares(self, level: int) -> bool:
        """Whether a level has the networks that all levels above the first share."""
        return self.weights == "shared" and level > 0

    def embedding(self, level: int) -> tuple[float, ...] | None:
        """The embedding of a level for shared networks, one number for each level above the first; None for others."""
        if not self.shares(level):
            return None
        return tuple(float(each == level) for each in range(1, len(self.levels)))

    def context_channels(self, level: int) -> int:
        """Channels of the images that the networks of a level are conditioned on."""
        return CONTEXT_CHANNELS[self.context] if level else 0

    def check_cascade(self, level: int, cascade: CascadeConfig) -> None:
        """Raises ValueError unless a cascade fits a level: its output size, its context, its first stage."""
        name, stages = self.levels[level].name, cascade.stages
        if stages[-1].image_px != self.levels[level].image_px:
            raise ValueError(f"level '{name}' wants {self.levels[level].image_px} px, its cascade ends at another size")
        if any(self.levels[level].image_px % stage.image_px for stage in stages):
            raise ValueError(f"level '{name}': every stage's image_px must divide {self.levels[level].image_px}")
        for stage in stages:
            if stage.unet.cond_images_channels != self.context_channels(level):
                raise ValueError(
                    f"level '{name}': cond_images_channels is {stage.unet.cond_images_channels}, "
                    f"context = '{self.context}' wants {self.context_channels(level)}"
                )
            if self.shares(level) and stage.unet.text_embed_dim != len(self.levels) - 1:
                raise ValueError(
                    f"networks shared by {len(self.levels) - 1} levels want text_embed_dim = {len(self.levels) - 1}, "
                    f"got {stage.unet.text_embed_dim}"
                )
        if level == 0 and stages[0].lowres_px is not None:
            raise ValueError(f"level '{name}' is the first: its cascade needs a base model")


@dataclass(frozen=True, config=STRICT)
class NetworkPlan:
    """One network to train.

    Args:
        level: Name of its level; 'shared' for all levels above the first, if they share their networks.
        stage: Its configuration.
        training: How it is trained.
        diffusers: The model in diffusers' form that a latent stage starts from, see `cdm_core.networks.latent`.
        finishing: How its student is finished on real images, see `cdm_core.distillation.finishing`.
    """

    level: str
    stage: StageConfig
    training: TrainingConfig
    diffusers: str | None = None
    finishing: FinishingPlan = FinishingPlan()

    @property
    def name(self) -> str:
        """Its level and output size, such as 'low-64'."""
        return f"{self.level}-{self.stage.image_px}"


@dataclass(frozen=True, config=STRICT)
class TrainingPlan:
    """A whole model to train, as read from a TOML file.

    Args:
        urcdm: The cascade.
        networks: Its networks, those of one level from the smallest image to the largest.

    Raises:
        ValueError: A network of an unknown level, a level without networks, or networks that do not fit their level.
    """

    urcdm: UrcdmConfig
    networks: tuple[NetworkPlan, ...]

    def __post_init__(self) -> None:
        names = list(dict.fromkeys(self.urcdm.cascade_name(level) for level in range(len(self.urcdm.levels))))
        for network in self.networks:
            if network.level not in names:
                raise ValueError(f"a network of level '{network.level}', but the levels are {', '.join(names)}")
        for i in range(len(self.urcdm.levels)):
            if not self.of_level(i):
                raise ValueError(f"level '{self.urcdm.cascade_name(i)}' has no network")
            self.urcdm.check_cascade(i, self.cascade(i))

    def of_level(self, level: int) -> tuple[NetworkPlan, ...]:
        """The networks of a level, in the order of their stages."""
        name = self.urcdm.cascade_name(level)
        return tuple(network for network in self.networks if network.level == name)

    def cascade(self, level: int) -> CascadeConfig:
        """The cascade of a level."""
        return CascadeConfig(tuple(network.stage for network in self.of_level(level)))

    def describes(self, config: UrcdmConfig, cascades: Sequence[CascadeConfig]) -> bool:
        """Whether a model has the levels and the networks of the plan.

        The tissue rule may differ: it decides where patches lie, and networks do not depend on it. So may the sampling.

        Args:
            config: The model's levels.
            cascades: The model's cascades, one a level.
        """
        networks = [[stage.unet for stage in cascade.stages] for cascade in cascades]
        planned = [[stage.unet for stage in self.cascade(level).stages] for level in range(len(self.urcdm.levels))]
        return networks == planned and replace(config, tissue=self.urcdm.tissue) == self.urcdm
