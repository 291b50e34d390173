"""Sources of an enrichment's diffusion models: the folder of a trained model, or a training plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import field_validator
from pydantic.dataclasses import dataclass

from cdm_core import TrainingConfig
from cdm_core.config_file import STRICT
from cdm_core.distillation.finishing import FinishingPlan
from maskcond.cascades.mask_diffusion_training import MASK_DIFFUSION_PLANS, MaskDiffusionPlan
from maskcond.cascades.mask_plan import MASK_PLANS, MaskPlan


@dataclass(frozen=True, config=STRICT)
class CascadeSource:
    """The source of the unconditional cascade.

    Args:
        folder: Folder of a trained cascade.
        training: Otherwise, training without masks of each network of the mask-conditioned cascade's plan.
        finishing: Finishing of its networks' students on real images, by the side of their images in pixels, such as
            `finishing.64`; other networks are not finished. Images are sampled from the finished cascade. The
            mask-conditioned cascade starts from the unfinished one: a finished network knows only the noise levels of
            its few steps, so training cannot continue from it.

    Raises:
        ValueError: Both folder and training are given, or neither; or finishing is given with a folder.
    """

    folder: Path | None = None
    training: tuple[TrainingConfig, ...] = ()
    finishing: dict[int, FinishingPlan] | None = None

    def __post_init__(self) -> None:
        if (self.folder is None) == (not self.training):
            raise ValueError("give either folder, of a trained cascade, or training, a table for each network")
        if self.folder is not None and self.finishing:
            raise ValueError("finishing needs a cascade that is trained in the run: leave it out, or give training")


@dataclass(frozen=True, config=STRICT)
class MaskCascadeSource:
    """The source of the mask-conditioned cascade.

    Args:
        folder: Folder of a trained cascade.
        plan: Otherwise, plan of its training from the unconditional cascade: a `MaskPlan`, or the name of one.

    Raises:
        ValueError: Both are given, or neither; or no plan has the name.
    """

    folder: Path | None = None
    plan: MaskPlan | None = None

    @field_validator("plan", mode="before")
    @classmethod
    def _named(cls, plan: Any) -> Any:
        return _plan_of_name(plan, MASK_PLANS)

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.plan is None):
            raise ValueError("give either folder, of a trained mask-conditioned cascade, or plan")


@dataclass(frozen=True, config=STRICT)
class MaskDiffusionSource:
    """The source of a diffusion model of masks, which samples masks besides those predicted from sampled images.

    Args:
        folder: Folder of a trained model.
        plan: Otherwise, plan of its training: a `MaskDiffusionPlan`, or the name of one.

    Raises:
        ValueError: Both are given; or no plan has the name.
    """

    folder: Path | None = None
    plan: MaskDiffusionPlan | None = None

    @field_validator("plan", mode="before")
    @classmethod
    def _named(cls, plan: Any) -> Any:
        return _plan_of_name(plan, MASK_DIFFUSION_PLANS)

    def __post_init__(self) -> None:
        if self.folder is not None and self.plan is not None:
            raise ValueError("give either folder, of a trained model of masks, or plan")

    @property
    def is_given(self) -> bool:
        """Whether a model of masks is configured."""
        return self.folder is not None or self.plan is not None


def _plan_of_name(plan: Any, named: Mapping[str, Any]) -> Any:
    """The plan of a name, or the given plan itself."""
    if isinstance(plan, str):
        if plan not in named:
            raise ValueError(f"no plan '{plan}'; known names are {', '.join(named)}")
        return named[plan]
    return plan
