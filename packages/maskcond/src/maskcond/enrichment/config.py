"""The configuration of an enrichment: one TOML file with the fields of these dataclasses."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic.dataclasses import dataclass

from cdm_core import ConfigError
from cdm_core.config_file import STRICT, dump_config, parse_config, read_toml
from maskcond.cascades.mask_diffusion_training import MaskDiffusionPlan
from maskcond.cascades.mask_plan import MaskPlan
from maskcond.enrichment.model_sources import CascadeSource, MaskCascadeSource, MaskDiffusionSource
from maskcond.enrichment.strategies.strategy import STRATEGIES, StrategyName
from maskcond.segmentation.loading import Workers, check_workers
from maskcond.segmentation.nnunet.plan import NnUnetPlan
from maskcond.segmentation.plan import SegmentationPlan
from maskcond.segmentation.small_unet.plan import SmallUnetPlan

Value = str | float


@dataclass(frozen=True, config=STRICT)
class PairFolder:
    """A folder of images and a folder of their masks, with the same names.

    Args:
        split: 'train', or the name of a split for testing.
        images: Folder of PNG, TIFF or JPEG images.
        masks: Folder of instance numbers or outlines; or, for `masks = "classes"`, of PNGs of class numbers.
        given: Conditions of all images, such as `tissue`.
    """

    split: str
    images: Path
    masks: Path
    given: dict[str, Value] | None = None


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The real images.

    Args:
        kumar: Folder of the KUMAR images, see `maskcond.read_kumar`.
        folders: Folders of other images, instead.
        unannotated: Folders of images without masks, for the training of the cascades.
        annotated: Number of training images whose masks are used, chosen at random by `sampling.seed`; the others are
            used without masks, as `unannotated` ones are. None: all.
        masks: Kind of the masks: 'nuclei', numbered, or 'classes' of tissue.
        scale: Scale of the images for segmentation, that of the cascades' images: a crop of `crop_px` becomes
            `crop_px * scale` px wide.

    Raises:
        ValueError: Neither `kumar` nor `folders` is given, or both; or a number is out of range.
    """

    kumar: Path | None = None
    folders: tuple[PairFolder, ...] = ()
    unannotated: tuple[Path, ...] = ()
    masks: Literal["nuclei", "classes"] = "nuclei"
    scale: float = 1.0
    annotated: int | None = None

    def __post_init__(self) -> None:
        if (self.kumar is None) == (not self.folders):
            raise ValueError("give either kumar, a folder, or folders, each with split, images and masks")
        if self.kumar is not None and self.masks != "nuclei":
            raise ValueError("the masks of KUMAR are of nuclei")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale lies in (0, 1], got {self.scale}")
        if self.annotated is not None and self.annotated < 1:
            raise ValueError(f"annotated is at least 1, got {self.annotated}")


@dataclass(frozen=True, config=STRICT)
class SamplingPlan:
    """Settings of the sampling.

    Args:
        images: Number of images from the unconditional cascade; a mask is predicted for each.
        variants: Number of images sampled from each mask.
        given: Conditions of these images, one chosen at random for each; empty: no conditions.
        guidance: Weight of the conditions; None: the cascade's.
        batch_size: Number of images sampled together; it does not change them.
        seed: Seed of all random numbers.
        drawn_masks: Number of further masks, sampled by the model of `mask_diffusion`.
        compile: Whether to compile the networks; 'auto': on a GPU, those with minutes of sampling ahead.

    Raises:
        ValueError: A number is not positive.
    """

    images: int = 1000
    variants: int = 3
    given: tuple[dict[str, Value], ...] = ()
    guidance: float | None = None
    batch_size: int = 16
    seed: int = 0
    drawn_masks: int = 0
    compile: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        for name in ("images", "variants", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        if self.guidance is not None and not math.isfinite(self.guidance):
            raise ValueError(f"guidance is a finite number, got {self.guidance}")
        for name in ("drawn_masks", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, config=STRICT)
class FilterConfig:
    """Settings of the filter of sampled pairs, which drops pairs without foreground in any case.

    The limits are measured on random crops of the real masks and images, of the size of the samples.

    Args:
        outside: Share of the real crops, at either end, whose foreground, nucleus size, colours and sharpness count as
            implausible.
        copies: Share of the real crops that count as a copy of another real image, which defines the limit of a copy;
            see `maskcond.enrichment.pairs.nearness`.
        crops: Number of random crops for the limits.
        looks: Whether to judge the colours and the sharpness of sampled images, which drops noise and blur.
        agreement: Smallest Dice between the mask of an image of the mask-conditioned cascade and the mask that the
            segmentation model predicts of that image; None: images are not judged by it.

    Raises:
        ValueError: A share is not in [0, 0.5), the agreement not in (0, 1), or there are no crops.
    """

    outside: float = 0.005
    copies: float = 0.005
    crops: int = 1000
    looks: bool = True
    agreement: float | None = None

    def __post_init__(self) -> None:
        for name in ("outside", "copies"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name} lies in [0, 0.5), got {getattr(self, name)}")
        if self.agreement is not None and not 0 < self.agreement < 1:
            raise ValueError(f"agreement lies in (0, 1), got {self.agreement}")
        if self.crops < 1:
            raise ValueError(f"crops is at least 1, got {self.crops}")


@dataclass(frozen=True, config=STRICT)
class SegmentationConfig:
    """The segmentation models.

    Args:
        model: Kind of the models.
        folder: Folder of a trained model that predicts the masks; None: the model of strategy 1 with the first seed.
        small_unet: Settings of the kind 'small-unet'.
        nnunet: Settings of the kind 'nnunet'.
        strategies: Strategies to train, in the order of the table.
        seeds: Number of models of each strategy.
        part: Share of the real images that strategy 1a learns from.
        synthetic_share: Share of synthetic pairs where a strategy learns from synthetic and real pairs at once; None:
            all pairs are equally likely.
        workers: Number of processes that read and augment crops; it does not change the crops. 'auto': all cores but
            one for a GPU, none for the CPU.

    Raises:
        ValueError: There is no strategy, one is listed twice, the models cannot be trained as one asks, or a number is
            out of range.
    """

    model: Literal["small-unet", "nnunet"] = "small-unet"
    folder: Path | None = None
    small_unet: SmallUnetPlan = SmallUnetPlan()
    nnunet: NnUnetPlan = NnUnetPlan()
    strategies: tuple[StrategyName, ...] = ("1", "1a", "2", "3", "4", "5")
    seeds: int = 3
    part: float = 0.3
    synthetic_share: float | None = None
    workers: Workers = "auto"

    def __post_init__(self) -> None:
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise ValueError("strategies: wanted at least one, and none twice")
        if self.seeds < 1:
            raise ValueError(f"seeds is at least 1, got {self.seeds}")
        check_workers(self.workers)
        if not 0 < self.part <= 1:
            raise ValueError(f"part lies in (0, 1], got {self.part}")
        if self.synthetic_share is not None and not 0 < self.synthetic_share < 1:
            raise ValueError(f"synthetic_share lies in (0, 1), got {self.synthetic_share}")
        for name in self.strategies:
            self.plan.settings(STRATEGIES[name].training)

    @property
    def plan(self) -> SegmentationPlan:
        """The training plan of the chosen kind."""
        plans: dict[str, SegmentationPlan] = {"small-unet": self.small_unet, "nnunet": self.nnunet}
        return plans[self.model]


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    """Settings of the comparison of strategies.

    Args:
        resamples: Number of bootstrap samples of the test images.
        confidence: Confidence of the intervals.

    Raises:
        ValueError: A value is out of range.
    """

    resamples: int = 10_000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"resamples is at least 1, got {self.resamples}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence lies in (0, 1), got {self.confidence}")


@dataclass(frozen=True, config=STRICT)
class EnrichmentConfig:
    """An enrichment from the real images to the table.

    Raises:
        ValueError: The unconditional cascade is trained, but a plan or the training of a network is missing, or a
            network cannot be finished; or the scale differs from that of a plan's crops; or masks are sampled without a
            model of masks, or the reverse.
    """

    data: DataConfig
    cascade: CascadeSource
    mask_cascade: MaskCascadeSource
    sampling: SamplingPlan = SamplingPlan()
    filter: FilterConfig = FilterConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    mask_diffusion: MaskDiffusionSource = MaskDiffusionSource()

    def __post_init__(self) -> None:
        plan = self.mask_cascade.plan
        if self.cascade.training:
            if plan is None:
                raise ValueError("cascade.training wants mask_cascade.plan, whose networks it trains")
            if len(self.cascade.training) != len(plan.networks):
                raise ValueError(
                    f"cascade.training: the plan has {len(plan.networks)} networks, got {len(self.cascade.training)}"
                )
            self._check_finishing(plan)
        if plan is not None:
            self._check_scale("the plan makes images", plan)
            if plan.input.schema is not None:
                for given in self.sampling.given:
                    plan.input.schema.encode(given)
        if self.mask_diffusion.plan is not None:
            self._check_scale("the plan of mask_diffusion makes masks", self.mask_diffusion.plan)
        if bool(self.sampling.drawn_masks) != self.mask_diffusion.is_given:
            raise ValueError(
                "sampling.drawn_masks is the number of masks to sample from mask_diffusion; give both, or neither"
            )

    def _check_finishing(self, plan: MaskPlan) -> None:
        stages = {network.stage.image_px: network.stage for network in plan.networks}
        for image_px, finishing in (self.cascade.finishing or {}).items():
            if image_px not in stages:
                sides = " and ".join(map(str, stages))
                raise ValueError(
                    f"cascade.finishing.{image_px}: the plan's networks make images of {sides} px; name these"
                )
            try:
                finishing.student(stages[image_px])
            except ConfigError as error:
                raise ValueError(f"cascade.finishing.{image_px}: {error}") from None

    def _check_scale(self, makes: str, plan: MaskPlan | MaskDiffusionPlan) -> None:
        image_px, crop_px = plan.cascade.stages[-1].image_px, plan.augmentation.crop_px or 0
        if round(crop_px * self.data.scale) != image_px:
            raise ValueError(
                f"data.scale: {makes} of {image_px} px of crops of {crop_px} px, which is a scale of "
                f"{image_px / crop_px:.4g}, got {self.data.scale}"
            )


def read_enrichment_config(path: Path) -> EnrichmentConfig:
    """Reads a configuration from a TOML file; relative paths in it are relative to the file's folder.

    Raises:
        ConfigError: The file is missing, is not TOML, or has an unknown key or a wrong value.
    """
    config = parse_config(EnrichmentConfig, read_toml(path), str(path))
    return _with_absolute_paths(config, path.absolute().parent)


def config_text(config: EnrichmentConfig) -> str:
    """Returns a configuration as TOML."""
    return tomli_w.dumps(dump_config(config))


def _with_absolute_paths(config: EnrichmentConfig, root: Path) -> EnrichmentConfig:

    def at(path: Path | None) -> Path | None:
        return None if path is None else (root / path).resolve()

    data = config.data
    return replace(
        config,
        data=replace(
            data,
            kumar=at(data.kumar),
            folders=tuple(
                replace(pairs, images=(root / pairs.images).resolve(), masks=(root / pairs.masks).resolve())
                for pairs in data.folders
            ),
            unannotated=tuple((root / folder).resolve() for folder in data.unannotated),
        ),
        cascade=replace(config.cascade, folder=at(config.cascade.folder)),
        mask_cascade=replace(config.mask_cascade, folder=at(config.mask_cascade.folder)),
        mask_diffusion=replace(config.mask_diffusion, folder=at(config.mask_diffusion.folder)),
        segmentation=replace(config.segmentation, folder=at(config.segmentation.folder)),
    )
