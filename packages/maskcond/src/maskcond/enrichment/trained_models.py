"""The models of an enrichment's configuration: cascades, and small U-Nets or nnU-Nets."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cdm_core import Cascade, CascadeConfig, Examples, StageConfig, TrainingConfig, build_unet, to_uint8
from cdm_core.stages.inference import compiling
from cdm_core.training.cascade_training import NetworkEvent, train_cascade, training_of
from maskcond.annotations.labelled_images import LabelledImages
from maskcond.cascades.mask_cascade import MaskCascade
from maskcond.cascades.mask_diffusion import MaskDiffusion
from maskcond.cascades.mask_diffusion_training import PHASE, train_mask_diffusion
from maskcond.cascades.mask_examples import MaskExamples
from maskcond.cascades.mask_plan import MaskPlan
from maskcond.cascades.mask_training import train_mask_cascade
from maskcond.cascades.network_training import Phases, network_trainings, trained_by
from maskcond.cascades.sampling import sample_images
from maskcond.conditions import ConditionSet, Given
from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.sampling_speed import full_batch, make_ready
from maskcond.enrichment.steps.step import Progress
from maskcond.masks.arrays import Image, Labels
from maskcond.masks.classes import KUMAR_BORDER, ClassSet
from maskcond.seeds import image_generator
from maskcond.segmentation.model import Pairs, SegmentationModel
from maskcond.segmentation.plan import TrainingKind

TO_SAMPLE_ANYWAY = "set sampling.compile = false"


class UnmaskedExamples:
    """Crops of images for an unconditional cascade, with the null embedding if it has an embedding.

    Args:
        images: The images; their masks are not used.
        plan: Plan of the mask-conditioned cascade that starts from it.
        seed: Seed of the crops.
    """

    def __init__(self, images: LabelledImages, plan: MaskPlan, seed: int) -> None:
        self.crops = MaskExamples(
            images,
            plan.input.codec,
            image_px=plan.cascade.stages[-1].image_px,
            augmentation=plan.augmentation,
            seed=seed,
            blank=True,
        )
        self.width = None if plan.input.schema is None else plan.input.schema.width

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a number, see `cdm_core.Examples`."""
        example = {"image": self.crops[draw]["image"]}
        if self.width is not None:
            example |= {"embedding": torch.zeros(self.width), "embedding_given": torch.tensor(False)}
        return example


class TrainedModels:
    """The models of a configuration; implements `maskcond.enrichment.models.Models`.

    Args:
        config: Configuration of the enrichment.
        device: Device of the models.

    Raises:
        CheckpointError, ConfigError: A given cascade cannot be read.
        EnrichmentError: The cascades do not fit each other or the masks.
        SegmentationError: A library of the segmentation model is not installed, or its settings do not fit the classes.
    """

    def __init__(self, config: EnrichmentConfig, device: str | torch.device = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self.plan = config.mask_cascade.plan
        if self.plan is not None:
            self.input, cascade = self.plan.input, self.plan.cascade
        else:
            taken = MaskCascade.load(_given(config.mask_cascade.folder))
            self.input, cascade = taken.input, taken.cascade.config
        self.image_px = cascade.stages[-1].image_px
        if config.data.masks == "nuclei" and len(self.classes.classes) > 1 and self.classes != KUMAR_BORDER:
            raise EnrichmentError(
                f"nuclei masks lack the classes {', '.join(self.classes.names)} of the mask-conditioned cascade; "
                "set data.masks, or choose another cascade"
            )
        if config.cascade.folder is not None:
            made_px = Cascade.load(config.cascade.folder).config.stages[-1].image_px
            if made_px != self.image_px:
                raise EnrichmentError(
                    f"the unconditional cascade makes images of {made_px} px, the mask-conditioned one of "
                    f"{self.image_px} px; choose cascades of one size"
                )
        self._check_mask_diffusion()
        if self.plan is not None:
            network_trainings(self.plan.cascade, [network.phases for network in self.plan.networks])
            if config.cascade.training:
                network_trainings(self._unconditional(self.plan), self._phases())
                network_trainings(self._unconditional(self.plan), self._finishing(self.plan))
        config.segmentation.plan.check_installed()
        kinds: tuple[TrainingKind, ...] = ("training", "fine-tuning")
        for kind in kinds:  # refuses settings that do not fit the classes before anything is trained
            TrainedModels.segmentation_model(self, Path(), kind=kind, plans=None)

    @property
    def classes(self) -> ClassSet:
        """Classes of the masks that the mask-conditioned cascade takes."""
        return self.input.codec.classes

    @property
    def conditions(self) -> ConditionSet | None:
        """Conditions of the mask-conditioned cascade besides the mask."""
        return self.input.schema

    def count_weights(self) -> list[int]:
        """Number of weights of each network of the cascades that are trained."""
        with torch.device("meta"):  # without memory for the weights
            unets = [build_unet(stage) for stage in self._plan().cascade.stages]
        return [sum(weight.numel() for weight in unet.parameters()) for unet in unets]

    def train_cascade(self, folder: Path, images: LabelledImages) -> Iterator[Progress]:
        """Trains the unconditional cascade; saves it in `folder/model`."""
        cascade = yield from self._train_unmasked(folder, images, self._phases(), None)
        cascade.save(folder / "model", overwrite=True)  # a step that is done again

    def finish_cascade(self, folder: Path, images: LabelledImages, start: Path) -> Iterator[Progress]:
        """Finishes students of the cascade in `start` on real images; saves the cascade in `folder/model`."""
        before = Cascade.load(start)
        cascade = yield from self._train_unmasked(folder, images, self._finishing(self._plan()), before.unets)
        origin = {f"start_{name}": value for name, value in before.provenance.items()}
        Cascade(cascade.config, cascade.unets, {**origin, **cascade.provenance}).save(folder / "model", overwrite=True)

    def open_cascade(self, folder: Path) -> "SeededCascade":
        """Opens an unconditional cascade."""
        cascade = Cascade.load(folder)
        return SeededCascade(cascade, self._make_ready(cascade, self.config.sampling.images))

    def train_mask_cascade(
        self, folder: Path, pairs: LabelledImages, unannotated: LabelledImages | None, start: Path
    ) -> Iterator[Progress]:
        """Trains the mask-conditioned cascade, from the cascade in `start`; saves it in `folder/model`."""
        plan = self._plan()
        phases = [network.phases for network in plan.networks]
        events = train_mask_cascade(
            plan,
            pairs,
            folder,
            unannotated=unannotated,
            start=Cascade.load(start),
            device=self._training_device(),
            resume=True,
        )
        yield from _progress(events, plan.cascade.stages, phases)

    def open_mask_cascade(self, folder: Path) -> "SeededMaskCascade":
        """Opens a mask-conditioned cascade."""
        model, sampling = MaskCascade.load(folder), self.config.sampling
        images = (sampling.images + sampling.drawn_masks) * sampling.variants
        return SeededMaskCascade(model, sampling.guidance, self._make_ready(model.cascade, images))

    def train_mask_diffusion(self, folder: Path, pairs: LabelledImages) -> Iterator[Progress]:
        """Trains a diffusion model of masks; saves it in `folder/model`."""
        plan = self.config.mask_diffusion.plan
        if plan is None:
            raise EnrichmentError("mask_diffusion.plan is missing; give a plan to train a model of masks")
        phases = [{PHASE: network.training} for network in plan.networks]
        events = train_mask_diffusion(plan, pairs, folder, device=self._training_device(), resume=True)
        yield from _progress(events, plan.cascade.stages, phases)

    def open_mask_diffusion(self, folder: Path) -> "SeededMaskDiffusion":
        """Opens a diffusion model of masks."""
        model = MaskDiffusion.load(folder)
        return SeededMaskDiffusion(model, self._make_ready(model.cascade, self.config.sampling.drawn_masks))

    @property
    def plans_segmentation(self) -> bool:
        """Whether segmentation models need plans, made from the real pairs."""
        return self.config.segmentation.plan.plans_pairs

    def plan_segmentation(self, file: Path, pairs: Pairs) -> None:
        """Makes the plans of the segmentation models."""
        self.config.segmentation.plan.write_plans(file, pairs, self._labels())

    def segmentation_model(self, folder: Path, *, kind: TrainingKind, plans: Path | None) -> SegmentationModel:
        """The segmentation model of a folder, to train."""
        chosen = self.config.segmentation
        return chosen.plan.model(
            folder, self._labels(), kind=kind, plans=plans, device=self.device, workers=chosen.workers
        )

    def open_segmentation_model(self, folder: Path) -> SegmentationModel:
        """Opens a trained segmentation model."""
        return self.config.segmentation.plan.open(folder, device=self.device)

    def _check_mask_diffusion(self) -> None:
        """Checks that sampled masks have the classes and the size of the masks predicted from sampled images."""
        chosen = self.config.mask_diffusion
        if chosen.plan is not None:
            classes, image_px = chosen.plan.pictures.codec.classes, chosen.plan.cascade.stages[-1].image_px
            network_trainings(chosen.plan.cascade, [{PHASE: network.training} for network in chosen.plan.networks])
        elif chosen.folder is not None:
            taken = MaskDiffusion.load(chosen.folder)
            classes, image_px = taken.pictures.codec.classes, taken.cascade.config.stages[-1].image_px
        else:
            return
        if classes != self._labels():
            wanted = ", ".join(self._labels().names)
            raise EnrichmentError(f"mask_diffusion: wanted masks of {wanted}, got {', '.join(classes.names)}")
        if image_px != self.image_px:
            raise EnrichmentError(f"mask_diffusion: wanted masks of {self.image_px} px, got {image_px} px")

    def _make_ready(self, cascade: Cascade, images: int) -> int | None:
        """Prepares a cascade for sampling a number of images; returns the required batch size, see `make_ready`."""
        plan = self.config.sampling
        return make_ready(cascade, self.device, images=images, batch_size=plan.batch_size, compiled=plan.compile)

    def _labels(self) -> ClassSet:
        return KUMAR_BORDER if self.config.data.masks == "nuclei" else self.classes

    def _plan(self) -> MaskPlan:
        if self.plan is None:
            raise EnrichmentError("mask_cascade.plan is missing; give a plan to train a cascade")
        return self.plan

    def _unconditional(self, plan: MaskPlan) -> CascadeConfig:
        """The plan's stages without masks, but with the layers of an embedding, so that widening changes nothing."""
        stages = plan.cascade.stages
        return CascadeConfig(
            tuple(replace(stage, unet=replace(stage.unet, cond_images_channels=0)) for stage in stages)
        )

    def _phases(self) -> list[Phases]:
        return [{"images": training} for training in self.config.cascade.training]

    def _finishing(self, plan: MaskPlan) -> list[Phases]:
        chosen = self.config.cascade.finishing or {}
        sides = [stage.image_px for stage in plan.cascade.stages]
        return [{"finished": chosen[side]} if side in chosen else {} for side in sides]

    def _train_unmasked(
        self, folder: Path, images: LabelledImages, phases: Sequence[Phases], initial: Sequence[nn.Module] | None
    ) -> Generator[Progress, None, Cascade]:
        plan = self._plan()

        def examples_of(_: str, training: TrainingConfig) -> tuple[Examples, Examples | None]:
            return UnmaskedExamples(images, plan, training.seed), None

        config, device = self._unconditional(plan), self._training_device()
        networks = network_trainings(config, phases, initial)
        events = train_cascade(networks, examples_of, folder, device=device, resume=True)
        cascade: Cascade = yield from _progress(events, config.stages, phases)
        cascade.provenance = {**trained_by(), **cascade.provenance}
        return cascade

    def _training_device(self) -> Any:
        return "cpu" if self.device.type == "cpu" else "auto"


class SeededCascade:
    """An unconditional cascade that samples an image for each seed.

    Args:
        cascade: The cascade.
        full: Required size of all batches; None: any.
    """

    def __init__(self, cascade: Cascade, full: int | None = None) -> None:
        self.cascade, self.full = cascade, full

    def sample(self, seeds: Sequence[int]) -> list[Image]:
        """Samples an image for each seed."""
        generators = [image_generator(seed, 0) for seed in full_batch(seeds, self.full)]
        with compiling(EnrichmentError, TO_SAMPLE_ANYWAY):
            return list(to_uint8(self.cascade.sample(generators)[-1][: len(seeds)]))


class SeededMaskCascade:
    """A mask-conditioned cascade that samples an image for each mask and seed.

    Args:
        model: The cascade.
        guidance: Weight of the conditions; None: the cascade's.
        full: As for `SeededCascade`.
    """

    def __init__(self, model: MaskCascade, guidance: float | None, full: int | None = None) -> None:
        self.model, self.guidance, self.full = model, guidance, full

    def sample(self, masks: Sequence[Labels], seeds: Sequence[int], given: Sequence[Given] | None) -> list[Image]:
        """Samples an image for each mask."""
        filled = full_batch(masks, self.full)
        with compiling(EnrichmentError, TO_SAMPLE_ANYWAY):
            samples = sample_images(
                self.model,
                filled,
                None if given is None else full_batch(given, self.full),
                seeds=full_batch(seeds, self.full),
                guidance=self.guidance,
                batch_size=max(len(filled), 1),
            )
            return [sample.image for sample in samples][: len(masks)]


class SeededMaskDiffusion:
    """A diffusion model of masks that samples a mask for each seed.

    Args:
        model: The model.
        full: As for `SeededCascade`.
    """

    def __init__(self, model: MaskDiffusion, full: int | None = None) -> None:
        self.model, self.full = model, full

    def sample(self, seeds: Sequence[int]) -> list[Labels]:
        """Samples labels for each seed."""
        generators = [image_generator(seed, 0) for seed in full_batch(seeds, self.full)]
        with compiling(EnrichmentError, TO_SAMPLE_ANYWAY):
            return self.model.sample(generators)[: len(seeds)]


def _progress(
    events: Iterable[NetworkEvent], stages: Sequence[StageConfig], phases: Sequence[Phases]
) -> Generator[Progress, None, Any]:
    """Yields the steps of all networks and phases counted together; returns the result of the training."""
    before, total = {}, 0
    for stage, of_stage in zip(stages, phases, strict=True):
        for phase, plan in of_stage.items():
            before[f"{stage.image_px}-{phase}"] = total
            total += training_of(plan).steps
    iterator = iter(events)
    while True:
        try:
            event = next(iterator)
        except StopIteration as end:
            return end.value
        done = before[event.network] + event.training.step
        yield Progress(done, total, f"{event.network}, loss {event.training.loss:.4f}")


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise EnrichmentError("mask_cascade: wanted a folder or a plan")
    return folder
