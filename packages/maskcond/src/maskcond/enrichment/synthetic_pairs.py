"""The steps that make synthetic pairs: X1 from D_phi, Y1 of X1, the filter, X2 of Y1, and their data set."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from maskcond.annotated_images import TRAIN, read_image
from maskcond.arrays import Image, Labels, Numbers
from maskcond.codec import MaskCodec
from maskcond.conditions import Given
from maskcond.enrichment.config import EnrichmentConfig
from maskcond.enrichment.dropped_picture import dropped_picture
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.filtering import Filtered, judge, real_limits
from maskcond.enrichment.models import Models
from maskcond.enrichment.nearness import part_thumbs
from maskcond.enrichment.pictures import batches, image_name, missing, read_numbers, write_png
from maskcond.enrichment.real_images import RealImages, conditioning_labels, image_at_scale
from maskcond.enrichment.steps import Progress
from maskcond.labelled_images import LabelledImage, LabelledImages, PictureSource
from maskcond.segmentation.nnunet_dataset import export_nnunet_dataset
from maskcond.segmentation.tasks import SegmentationTask

DATASET = "Dataset001_synthetic"
PAIRS_FILE, PROVENANCE_FILE, DROPPED_FILE = "pairs.json", "provenance.json", "dropped.png"


class SyntheticPairs:
    """Makes synthetic pairs, a step at a time; every method is the work of one step.

    Args:
        config: The enrichment.
        models: Its models.
        real: The real images.
        task: What masks tell.
    """

    def __init__(self, config: EnrichmentConfig, models: Models, real: RealImages, task: SegmentationTask) -> None:
        self.config, self.models, self.real, self.task = config, models, real, task

    def sample_images(self, folder: Path, cascade: Path) -> Iterator[Progress]:
        """X1: images of the D_phi in a folder, `images/NUMBER.png`."""
        plan = self.config.sampling
        todo = missing(folder / "images", [image_name(number) for number in range(plan.images)])
        model = self.models.open_cascade(cascade)
        done = plan.images - len(todo)
        for numbers in batches(todo, plan.batch_size):
            drawn = model.sample([self.image_seed(number) for number in numbers])
            for number, image in zip(numbers, drawn, strict=True):
                write_png(folder / "images" / f"{image_name(number)}.png", image)
            done += len(numbers)
            yield Progress(done, plan.images)

    def predict_masks(self, folder: Path, images: Path, model: Path) -> Iterator[Progress]:
        """Y1: masks of the segmentation model in a folder, `masks/NUMBER.png`."""
        total = self.config.sampling.images
        todo = missing(folder / "masks", [image_name(number) for number in range(total)])
        predicted = self.models.open_segmentation_model(model).predict(_read_images(images, todo))
        for done, (number, labels) in enumerate(zip(todo, predicted, strict=True), total - len(todo) + 1):
            write_png(folder / "masks" / f"{image_name(number)}.png", self.task.mask(labels))
            yield Progress(done, total)

    def filter_pairs(self, folder: Path, images: Path, masks: Path) -> Iterator[Progress]:
        """Judges all pairs: `pairs.json`, and `dropped.png` if any was left out."""
        total, scale = self.config.sampling.images, self.config.data.scale
        real = [(each.name, *each.read(scale)) for each in self.real.of(TRAIN)]
        named = [(name, image) for name, image, _ in real]
        named += [(each.name, image_at_scale(each.image, scale)) for each in self.real.unannotated or ()]
        training = part_thumbs(named, self.models.image_px)
        limits = real_limits(
            real,
            training,
            self.models.image_px,
            self.config.filter,
            nuclei=self.config.data.masks == "nuclei",
            seed=self.config.sampling.seed,
        )
        samples = list(_read_images(images, range(total)))
        predicted = [_read_mask(masks, number) for number in range(total)]
        found = Filtered(limits, tuple(judge(samples, predicted, training, limits)))
        found.save(folder / PAIRS_FILE)
        if (picture := dropped_picture(found, samples, predicted)) is not None:
            write_png(folder / DROPPED_FILE, picture)
        yield Progress(total, total, f"{len(found.kept)} kept")
        if not found.kept:
            told = ", ".join(f"{reason} {count}" for reason, count in found.counts().items() if count)
            raise EnrichmentError(
                f"none of {total} sampled pairs is kept ({told}): see {folder / DROPPED_FILE}; train D_phi longer, or "
                "loosen the filter"
            )

    def sample_variants(self, folder: Path, masks: Path, pairs: Path, cascade: Path) -> Iterator[Progress]:
        """X2: images of the D_xi in a folder, `images/NUMBER-VARIANT.png`."""
        plan = self.config.sampling
        items = [(number, variant) for number in self.kept(pairs) for variant in range(plan.variants)]
        todo = [items[i] for i in missing(folder / "images", [variant_name(*item) for item in items])]
        model = self.models.open_mask_cascade(cascade)
        done = len(items) - len(todo)
        for each in batches(todo, plan.batch_size):
            drawn = model.sample(
                [self._conditioning(_read_mask(masks, number)) for number, _ in each],
                [self.variant_seed(*item) for item in each],
                [self.given(*item) or {} for item in each] if plan.given else None,
            )
            for item, image in zip(each, drawn, strict=True):
                write_png(folder / "images" / f"{variant_name(*item)}.png", image)
            done += len(each)
            yield Progress(done, len(items))

    def export(
        self, folder: Path, masks: Path, pairs: Path, variants: Path, model_digests: dict[str, str]
    ) -> Iterator[Progress]:
        """The data set d2 = (X2, Y1) as nnU-Net reads it, and `provenance.json`, which tells of every pair."""
        judged = {each.number: each for each in Filtered.load(pairs / PAIRS_FILE).pairs}
        items = [(number, variant) for number in self.kept(pairs) for variant in range(self.config.sampling.variants)]
        if not (folder / DATASET).exists():
            sources = [
                _VariantSource(variant_name(*item), variants / "images", masks / "masks", item[0], self.task)
                for item in items
            ]
            export_nnunet_dataset(LabelledImages(sources), folder / DATASET, self.task.classes)
        told = [
            {
                "pair": pair_name(place),
                "name": variant_name(number, variant),
                "mask": number,
                "mask_image_seed": self.image_seed(number),
                "variant": variant,
                "image_seed": self.variant_seed(number, variant),
                "conditions": self.given(number, variant),
                **{
                    key: value
                    for key, value in asdict(judged[number]).items()
                    if key in ("foreground", "size_px", "nearest", "distance")
                },
            }
            for place, (number, variant) in enumerate(items)
        ]
        temporary = folder / f".{PROVENANCE_FILE}.tmp"
        temporary.write_text(json.dumps({"models": model_digests, "pairs": told}, indent=1), encoding="utf-8")
        temporary.replace(folder / PROVENANCE_FILE)
        yield Progress(len(items), len(items))

    def kept(self, pairs: Path) -> list[int]:
        """Numbers of the masks that the filter kept."""
        return Filtered.load(pairs / PAIRS_FILE).kept

    def image_seed(self, number: int) -> int:
        """The seed of an image X1."""
        return _seed(self.config.sampling.seed, 1, number)

    def variant_seed(self, number: int, variant: int) -> int:
        """The seed of an image X2."""
        return _seed(self.config.sampling.seed, 2, number, variant)

    def given(self, number: int, variant: int) -> Given | None:
        """What D_xi is told of a variant beside its mask; None for nothing."""
        choices = self.config.sampling.given
        if not choices:
            return None
        return choices[_seed(self.config.sampling.seed, 3, number, variant) % len(choices)]

    def _conditioning(self, mask: Numbers) -> Labels:
        return conditioning_labels(mask, self.task, self.models.classes)


def synthetic_pairs(folder: Path, task: SegmentationTask) -> LabelledImages:
    """The pairs that `SyntheticPairs.export` left in a step's folder."""
    dataset, codec = folder / DATASET, MaskCodec(task.classes)
    cases = sorted(path.stem for path in (dataset / "labelsTr").glob("*.png"))
    return LabelledImages(
        PictureSource(dataset / "imagesTr" / f"{case}_0000.png", dataset / "labelsTr" / f"{case}.png", codec)
        for case in cases
    )


def variant_name(number: int, variant: int) -> str:
    """The name of an image X2."""
    return f"{image_name(number)}-{variant}"


def pair_name(place: int) -> str:
    """The name of a pair in the data set, by its place in it."""
    return f"pair-{place + 1:05d}"


class _VariantSource:
    """An image X2 with the labels of its mask Y1."""

    def __init__(self, name: str, images: Path, masks: Path, number: int, task: SegmentationTask) -> None:
        self.name, self.images, self.masks, self.number, self.task = name, images, masks, number, task

    def read(self) -> LabelledImage:
        labels = self.task.labels(_read_mask(self.masks.parent, self.number))
        return LabelledImage(self.name, read_image(self.images / f"{self.name}.png"), labels)


def _read_images(step: Path, numbers: Sequence[int]) -> Iterator[Image]:
    return (read_image(step / "images" / f"{image_name(number)}.png") for number in numbers)


def _read_mask(step: Path, number: int) -> Numbers:
    return read_numbers(step / "masks" / f"{image_name(number)}.png")


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint32)[0])
