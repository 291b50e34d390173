"""The steps that make synthetic pairs: sampled images, masks, the filter, images of the masks, the dataset."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from maskcond.annotations.annotated_images import TRAIN, read_image, read_numbers
from maskcond.annotations.labelled_images import LabelledImage, LabelledImages, PictureSource
from maskcond.conditions import Given
from maskcond.enrichment.config import EnrichmentConfig, FilterConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.models import Models
from maskcond.enrichment.pairs.dropped_picture import dropped_picture
from maskcond.enrichment.pairs.filtering import Filtered, Judged, judge, real_limits
from maskcond.enrichment.pairs.nearness import part_thumbs
from maskcond.enrichment.pairs.pictures import batches, image_name, missing, write_png
from maskcond.enrichment.real_images import RealImages, conditioning_labels, image_at_scale
from maskcond.enrichment.steps.step import Progress
from maskcond.masks.arrays import Image, Labels, Numbers
from maskcond.masks.codec import MaskCodec
from maskcond.metrics import dice
from maskcond.segmentation.nnunet.dataset import export_nnunet_dataset
from maskcond.segmentation.tasks import SegmentationTask
from run_folder import whole_file

DATASET = "Dataset001_synthetic"
PAIRS_FILE, PROVENANCE_FILE, DROPPED_FILE = "pairs.json", "provenance.json", "dropped.png"
AGREEMENT_FILE = "agreement.json"
DRAWN_FILE, DRAWN_DROPPED_FILE = "drawn.json", "dropped-drawn.png"


@dataclass(frozen=True)
class MaskPaths:
    """Paths of the masks: predicted masks with the numbers of their images, then sampled masks.

    Args:
        predicted: Folder of the step that predicted masks.
        drawn: Folder of the step that sampled masks; None if there is none.
        images: Number of predicted masks.
    """

    predicted: Path
    drawn: Path | None
    images: int

    def read(self, number: int) -> Numbers:
        """Reads the mask of a number."""
        step = self.predicted if number < self.images or self.drawn is None else self.drawn
        return read_numbers(step / "masks" / f"{image_name(number)}.png")


class SyntheticPairs:
    """Makes synthetic pairs; the methods that yield progress are the work of one step each.

    Args:
        config: Configuration of the enrichment.
        models: Models of the enrichment.
        real: Real images.
        task: Segmentation task of the masks.
    """

    def __init__(self, config: EnrichmentConfig, models: Models, real: RealImages, task: SegmentationTask) -> None:
        self.config, self.models, self.real, self.task = config, models, real, task

    def sample_images(self, folder: Path, cascade: Path) -> Iterator[Progress]:
        """Samples images from the unconditional cascade in a folder: `images/NUMBER.png`."""
        plan = self.config.sampling
        todo = missing(folder / "images", [image_name(number) for number in range(plan.images)])
        model = self.models.open_cascade(cascade)
        done = plan.images - len(todo)
        for numbers in batches(todo, plan.batch_size):
            samples = model.sample([self.image_seed(number) for number in numbers])
            for number, image in zip(numbers, samples, strict=True):
                write_png(folder / "images" / f"{image_name(number)}.png", image)
            done += len(numbers)
            yield Progress(done, plan.images)

    def predict_masks(self, folder: Path, images: Path, model: Path) -> Iterator[Progress]:
        """Predicts the masks of the sampled images with the segmentation model in a folder: `masks/NUMBER.png`."""
        total = self.config.sampling.images
        todo = missing(folder / "masks", [image_name(number) for number in range(total)])
        predicted = self.models.open_segmentation_model(model).predict(_read_images(images, todo))
        for done, (number, labels) in enumerate(zip(todo, predicted, strict=True), total - len(todo) + 1):
            write_png(folder / "masks" / f"{image_name(number)}.png", self.task.mask(labels))
            yield Progress(done, total)

    def sample_masks(self, folder: Path, model: Path) -> Iterator[Progress]:
        """Samples masks from the diffusion model in a folder: `masks/NUMBER.png`, after the predicted ones."""
        plan = self.config.sampling
        numbers = range(plan.images, plan.images + plan.drawn_masks)
        todo = [numbers[i] for i in missing(folder / "masks", [image_name(number) for number in numbers])]
        sampler = self.models.open_mask_diffusion(model)
        done = len(numbers) - len(todo)
        for batch in batches(todo, plan.batch_size):
            samples = sampler.sample([self.image_seed(number) for number in batch])
            for number, labels in zip(batch, samples, strict=True):
                write_png(folder / "masks" / f"{image_name(number)}.png", self.task.mask(labels))
            done += len(batch)
            yield Progress(done, len(numbers))

    def filter_pairs(self, folder: Path, images: Path, masks: MaskPaths) -> Iterator[Progress]:
        """Judges all pairs: `pairs.json`, and `dropped.png` if any is dropped; likewise the sampled masks."""
        plan, scale = self.config.sampling, self.config.data.scale
        real = [(image.name, *image.read(scale)) for image in self.real.of(TRAIN)]
        more = [(image.name, image_at_scale(image.image, scale)) for image in self.real.unannotated or ()]
        samples = list(_read_images(images, range(plan.images)))
        predicted = [masks.read(number) for number in range(plan.images)]
        pairs = self._judge(real, more, samples, predicted, self.config.filter)
        _save_judged(pairs, folder / PAIRS_FILE, folder / DROPPED_FILE, samples, predicted)
        kept, counts = len(pairs.kept), Counter(pairs.counts())
        if plan.drawn_masks:
            # a sampled mask has no image: it is compared, as a picture, with the training masks of its model
            drawn = [masks.read(plan.images + number) for number in range(plan.drawn_masks)]
            painted = [self._paint(mask) for mask in drawn]
            pictures = [(name, self._paint(mask), mask) for name, _, mask in real]
            judged = self._judge(pictures, [], painted, drawn, replace(self.config.filter, looks=False))
            _save_judged(judged, folder / DRAWN_FILE, folder / DRAWN_DROPPED_FILE, painted, drawn)
            kept += len(judged.kept)
            counts.update(judged.counts())
        total = plan.images + plan.drawn_masks
        repeats = f"; {pairs.limits.repeats} training images show pixels of another one" if pairs.limits.repeats else ""
        yield Progress(total, total, f"{kept} kept{repeats}")
        if not kept:
            reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
            raise EnrichmentError(
                f"none of {total} sampled pairs is kept ({reasons}): see {folder / DROPPED_FILE}; "
                "train the cascade longer, or relax the filter"
            )

    def sample_variants(self, folder: Path, masks: MaskPaths, pairs: Path, cascade: Path) -> Iterator[Progress]:
        """Samples images of the masks from the mask-conditioned cascade in a folder: `images/NUMBER-VARIANT.png`."""
        plan = self.config.sampling
        items = self._items(pairs)
        todo = [items[i] for i in missing(folder / "images", [variant_name(*item) for item in items])]
        model = self.models.open_mask_cascade(cascade)
        done = len(items) - len(todo)
        for batch in batches(todo, plan.batch_size):
            samples = model.sample(
                [self._conditioning(masks.read(number)) for number, _ in batch],
                [self.variant_seed(*item) for item in batch],
                [self.given(*item) or {} for item in batch] if plan.given else None,
            )
            for item, image in zip(batch, samples, strict=True):
                write_png(folder / "images" / f"{variant_name(*item)}.png", image)
            done += len(batch)
            yield Progress(done, len(items))

    def judge_variants(
        self, folder: Path, masks: MaskPaths, pairs: Path, variants: Path, model: Path
    ) -> Iterator[Progress]:
        """Compares each image of a mask with the mask that a model predicts of it: their Dice in `agreement.json`."""
        items = self._items(pairs)
        images = (read_image(variants / "images" / f"{variant_name(*item)}.png") for item in items)
        predicted = self.models.open_segmentation_model(model).predict(images)
        agreement: dict[str, float] = {}
        for (number, variant), labels in zip(items, predicted, strict=True):
            found = self.task.mask(labels)
            agreement[variant_name(number, variant)] = dice(truth=masks.read(number), predicted=found)
            yield Progress(len(agreement), len(items))
        limit = self.config.filter.agreement or 0.0
        kept = sum(value >= limit for value in agreement.values())
        if not kept:
            raise EnrichmentError(
                f"none of {len(items)} images agrees with its mask (Dice of at most {max(agreement.values()):.2f}, "
                f"wanted {limit}): train the mask-conditioned cascade longer, or lower filter.agreement"
            )
        with whole_file(folder / AGREEMENT_FILE) as partial:
            partial.write_text(json.dumps({"limit": limit, "dice": agreement}, indent=1), encoding="utf-8")
        yield Progress(len(items), len(items), f"{kept} kept")

    def export(
        self,
        folder: Path,
        masks: MaskPaths,
        pairs: Path,
        variants: Path,
        model_digests: dict[str, str],
        *,
        agreement: Path | None = None,
    ) -> Iterator[Progress]:
        """Writes the pairs as an nnU-Net dataset, and `provenance.json` with the origin of every pair.

        Images that `judge_variants` found to disagree with their masks, in the folder `agreement`, are left out.
        """
        judged, images = self._judged(pairs), self.config.sampling.images
        items = self._items(pairs)
        agreeing: dict[str, float] = {}
        if agreement is not None:
            values = json.loads((agreement / AGREEMENT_FILE).read_text(encoding="utf-8"))
            agreeing = {name: value for name, value in values["dice"].items() if value >= values["limit"]}
            items = [item for item in items if variant_name(*item) in agreeing]
        if not (folder / DATASET / "dataset.json").exists():
            sources = [
                _VariantSource(variant_name(*item), variants / "images", masks, item[0], self.task) for item in items
            ]
            export_nnunet_dataset(LabelledImages(sources), folder / DATASET, self.task.classes)
        provenance = [
            {
                "pair": pair_name(index),
                "name": variant_name(number, variant),
                "mask": number,
                "mask_is": "predicted" if number < images else "drawn",
                "mask_seed": self.image_seed(number),
                "variant": variant,
                "image_seed": self.variant_seed(number, variant),
                "conditions": self.given(number, variant),
                "agreement": agreeing.get(variant_name(number, variant)),
                **{
                    key: value
                    for key, value in asdict(judged[number]).items()
                    if key in ("foreground", "size_px", "nearest", "distance")
                },
            }
            for index, (number, variant) in enumerate(items)
        ]
        with whole_file(folder / PROVENANCE_FILE) as partial:
            partial.write_text(json.dumps({"models": model_digests, "pairs": provenance}, indent=1), encoding="utf-8")
        yield Progress(len(items), len(items))

    def kept(self, pairs: Path) -> list[int]:
        """Numbers of the masks that the filter kept."""
        return [number for number, pair in self._judged(pairs).items() if pair.reason is None]

    def _items(self, pairs: Path) -> list[tuple[int, int]]:
        """Mask and variant of each image of the kept masks."""
        return [(number, variant) for number in self.kept(pairs) for variant in range(self.config.sampling.variants)]

    def image_seed(self, number: int) -> int:
        """The seed of a sampled image, or of a sampled mask."""
        return _seed(self.config.sampling.seed, 1, number)

    def variant_seed(self, number: int, variant: int) -> int:
        """The seed of an image of a mask."""
        return _seed(self.config.sampling.seed, 2, number, variant)

    def given(self, number: int, variant: int) -> Given | None:
        """The conditions of an image besides its mask; None if there are none."""
        choices = self.config.sampling.given
        if not choices:
            return None
        return choices[_seed(self.config.sampling.seed, 3, number, variant) % len(choices)]

    def _conditioning(self, mask: Numbers) -> Labels:
        return conditioning_labels(mask, self.task, self.models.classes)

    def _paint(self, mask: Numbers) -> Image:
        return MaskCodec(self.task.classes).paint(self.task.labels(mask))

    def _judge(
        self,
        real: Sequence[tuple[str, Image, Numbers]],
        more: Sequence[tuple[str, Image]],
        images: Sequence[Image],
        masks: Sequence[Numbers],
        settings: FilterConfig,
    ) -> Filtered:
        """Judges samples by real images with masks, and by more images without."""
        training = part_thumbs([*((name, image) for name, image, _ in real), *more], self.models.image_px)
        limits = real_limits(
            real,
            training,
            self.models.image_px,
            settings,
            nuclei=self.config.data.masks == "nuclei",
            seed=self.config.sampling.seed,
            more=more,
        )
        return Filtered(limits, tuple(judge(images, masks, training, limits)))

    def _judged(self, pairs: Path) -> dict[int, Judged]:
        """The filter's judgement of each mask, by its number."""
        judged = dict(enumerate(Filtered.load(pairs / PAIRS_FILE).pairs))
        if self.config.sampling.drawn_masks:
            judged |= dict(enumerate(Filtered.load(pairs / DRAWN_FILE).pairs, self.config.sampling.images))
        return judged


def synthetic_pairs(folder: Path, task: SegmentationTask) -> LabelledImages:
    """The pairs that `SyntheticPairs.export` wrote to a step's folder."""
    dataset, codec = folder / DATASET, MaskCodec(task.classes)
    cases = sorted(path.stem for path in (dataset / "labelsTr").glob("*.png"))
    return LabelledImages(
        PictureSource(dataset / "imagesTr" / f"{case}_0000.png", dataset / "labelsTr" / f"{case}.png", codec)
        for case in cases
    )


def variant_name(number: int, variant: int) -> str:
    """The name of an image of a mask."""
    return f"{image_name(number)}-{variant}"


def pair_name(index: int) -> str:
    """The name of a pair in the data set, by its index."""
    return f"pair-{index + 1:05d}"


class _VariantSource:
    """A sampled image with the labels of the mask that it was sampled from."""

    def __init__(self, name: str, images: Path, masks: MaskPaths, number: int, task: SegmentationTask) -> None:
        self.name, self.images, self.masks, self.number, self.task = name, images, masks, number, task

    def read(self) -> LabelledImage:
        labels = self.task.labels(self.masks.read(self.number))
        return LabelledImage(self.name, read_image(self.images / f"{self.name}.png"), labels)


def _read_images(step: Path, numbers: Sequence[int]) -> Iterator[Image]:
    return (read_image(step / "images" / f"{image_name(number)}.png") for number in numbers)


def _save_judged(
    filtered: Filtered, file: Path, dropped_file: Path, images: Sequence[Image], masks: Sequence[Numbers]
) -> None:
    filtered.save(file)
    if (picture := dropped_picture(filtered, images, masks)) is not None:
        write_png(dropped_file, picture)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint32)[0])
