"""An enrichment from the real images to the table, with models that take no time."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
from safetensors.torch import load_file

from cdm_core import ConfigError, TrainingConfig
from cdm_core.distillation.finishing import FinishingPlan
from maskcond import (
    KUMAR,
    KUMAR_BORDER,
    KUMAR_CONDITIONS,
    MASK_DIFFUSION_PLANS,
    MASK_PLANS,
    Augmentation,
    Image,
    Instances,
    LabelledImage,
    LabelledImages,
    Labels,
    MaskCodec,
    connected_components,
    dice,
)
from maskcond.conditions import Given
from maskcond.enrichment import (
    EnrichmentConfig,
    EnrichmentError,
    EnrichmentRun,
    Progress,
    TrainedModels,
    config_text,
    estimate,
    read_enrichment_config,
)
from maskcond.enrichment.config import (
    CascadeSource,
    DataConfig,
    EvaluationConfig,
    FilterConfig,
    MaskCascadeSource,
    MaskDiffusionSource,
    SamplingPlan,
    SegmentationConfig,
)
from maskcond.enrichment.pairs.filtering import Filtered, Reason
from maskcond.enrichment.real_images import open_real_images
from maskcond.enrichment.steps.record import StepRecord
from maskcond.enrichment.strategies.strategy_models import mixed
from maskcond.enrichment.strategies.strategy_table import read_scores, read_table
from maskcond.segmentation import (
    FitProgress,
    NnUnetSettings,
    NucleiTask,
    Pairs,
    SegmentationError,
    SegmentationModel,
    SmallUnetSettings,
)
from maskcond.segmentation.nnunet.plan import NnUnetPlan
from maskcond.segmentation.plan import TrainingKind
from maskcond.segmentation.small_unet.plan import SmallUnetPlan

pytestmark = pytest.mark.once

SIDE = 64


def tissue(seed: int, side_px: int = SIDE, nuclei: int = 12) -> tuple[Image, Instances]:
    """Violet nuclei, round, on pink tissue with a texture of its own."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((side_px, side_px))
    instances = np.zeros((side_px, side_px), np.int32)
    for number in range(1, nuclei + 1):
        row, col, radius = rng.uniform((3, 3, 3.5), (side_px - 3, side_px - 3, 6))
        instances[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = number
    return drawn(instances > 0, rng), instances


def drawn(foreground: np.ndarray, rng: np.random.Generator) -> Image:
    """An image of a mask."""
    side = len(foreground)
    coarse = np.kron(rng.uniform(-30, 30, (side // 8, side // 8, 1)), np.ones((8, 8, 1)))
    image = np.where(foreground[..., None], (110, 60, 140), (225, 165, 195)) + coarse
    image += rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def write_kumar(folder: Path, splits: dict[str, int], side_px: int = SIDE) -> Path:
    """A folder in KUMAR's form with an index, of so many images a split."""
    (folder / "images").mkdir(parents=True)
    (folder / "instances").mkdir()
    lines = ["image,split,organ,disease"]
    for split, count in splits.items():
        for number in range(count):
            name = f"{split}-{number}"
            image, instances = tissue(len(lines), side_px, nuclei=12 * (side_px // SIDE) ** 2)
            PIL.Image.fromarray(image).save(folder / "images" / f"{name}.png")
            PIL.Image.fromarray(instances.astype(np.uint16)).save(folder / "instances" / f"{name}.png")
            lines.append(f"{name},{split},Breast,Breast invasive carcinoma")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@dataclass(frozen=True)
class LoadedPair:
    name: str

    def read(self) -> LabelledImage:
        return LabelledImage(self.name, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8))


class FakeCascade:
    def __init__(self, brighter: int = 0) -> None:
        self.brighter = brighter

    def sample(self, seeds: Sequence[int]) -> list[Image]:
        return [tissue(seed)[0].clip(0, 254) + np.uint8(self.brighter) for seed in seeds]


class FakeMaskCascade:
    def sample(self, masks: Sequence[Labels], seeds: Sequence[int], given: Sequence[Given] | None) -> list[Image]:
        conditions = given or [{}] * len(masks)
        return [
            drawn(mask > 0, np.random.default_rng([seed, len(str(each))]))
            for mask, seed, each in zip(masks, seeds, conditions, strict=True)
        ]


class FakeMaskDiffusion:
    def sample(self, seeds: Sequence[int]) -> list[Labels]:
        return [NucleiTask().labels(tissue(seed)[1]) for seed in seeds]


class FakeSegmenter:
    """Takes what is dark for nuclei; what it learned from is all that its folder holds."""

    classes = KUMAR_BORDER

    def __init__(self, folder: Path, log: list[str]) -> None:
        self.folder, self.log = folder, log

    @property
    def is_trained(self) -> bool:
        return (self.folder / "learned.txt").exists()

    def fit(self, pairs: Pairs, *, seed: int = 0, start_from: Path | None = None) -> Iterator[FitProgress]:
        self.log.append(f"fit {self.folder.parent.parent.name}/{self.folder.parent.name}")
        self.folder.mkdir(parents=True, exist_ok=True)
        before = "" if start_from is None else (start_from / "learned.txt").read_text()
        yield FitProgress(1, 2, 1.0, 1e-3)
        digest = sum(int(pair.image.sum()) + int(pair.labels.sum()) for pair in pairs)
        (self.folder / "learned.txt").write_text(f"{before}{len(pairs)} pairs {digest} seed {seed}; ")
        yield FitProgress(2, 2, 0.5, 1e-3)

    def predict(self, images: Iterable[Image]) -> Iterator[Labels]:
        for image in images:
            yield NucleiTask().labels(connected_components(image[..., 1] < 115))


class FakeModels:
    """`maskcond.enrichment.models.Models` that take no time; `log` tells what was trained or sampled from."""

    classes, conditions, image_px = KUMAR, KUMAR_CONDITIONS, SIDE
    plans_segmentation = False

    def __init__(self) -> None:
        self.log: list[str] = []

    def count_weights(self) -> list[int]:
        return [1000, 100]

    def train_cascade(self, folder: Path, images: LabelledImages) -> Iterator[Progress]:
        self.log.append("train cascade")
        yield Progress(1, 1)
        _leave_model(folder, f"cascade of {len(images)}")

    def train_mask_cascade(
        self, folder: Path, pairs: LabelledImages, unannotated: LabelledImages | None, start: Path
    ) -> Iterator[Progress]:
        self.log.append("train mask cascade")
        yield Progress(1, 1)
        _leave_model(folder, f"mask cascade of {len(pairs)} from {(start / 'model.txt').read_text()}")

    def finish_cascade(self, folder: Path, images: LabelledImages, start: Path) -> Iterator[Progress]:
        self.log.append("finish cascade")
        yield Progress(1, 1)
        _leave_model(folder, f"finished with {len(images)} from {(start / 'model.txt').read_text()}")

    def open_cascade(self, folder: Path) -> FakeCascade:
        self.log.append("open cascade")
        return FakeCascade(brighter=1 if folder.parent.name == "finished-cascade" else 0)

    def open_mask_cascade(self, folder: Path) -> FakeMaskCascade:
        self.log.append("open mask cascade")
        return FakeMaskCascade()

    def train_mask_diffusion(self, folder: Path, pairs: LabelledImages) -> Iterator[Progress]:
        self.log.append("train masks")
        assert {number for pair in pairs for number in np.unique(pair.labels)} == {0, 1, 2}  # borders are a class
        yield Progress(1, 1)
        _leave_model(folder, f"masks of {len(pairs)}")

    def open_mask_diffusion(self, folder: Path) -> FakeMaskDiffusion:
        self.log.append("open masks")
        return FakeMaskDiffusion()

    def plan_segmentation(self, file: Path, pairs: Pairs) -> None:
        raise AssertionError("these models need no plans")

    def segmentation_model(self, folder: Path, *, kind: TrainingKind, plans: Path | None) -> SegmentationModel:
        return FakeSegmenter(folder, self.log)

    def open_segmentation_model(self, folder: Path) -> SegmentationModel:
        return FakeSegmenter(folder, self.log)


def _leave_model(folder: Path, text: str) -> None:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "model.txt").write_text(text)


IMAGES = 6


@pytest.fixture(scope="module")
def kumar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kumar(tmp_path_factory.mktemp("data") / "kumar", {"train": 4, "seen": 2, "unseen": 2}, side_px=128)


@pytest.fixture
def config(kumar: Path) -> EnrichmentConfig:
    plan = MASK_PLANS["kumar-small"]  # 64 px of crops of 128 px
    plan = replace(plan, augmentation=replace(plan.augmentation, crop_px=64))
    return EnrichmentConfig(
        DataConfig(kumar=kumar),
        CascadeSource(training=(TrainingConfig(1, 1),) * 2),
        MaskCascadeSource(plan=plan),
        SamplingPlan(IMAGES, 2, batch_size=4),
        FilterConfig(outside=0.0, crops=40),
        SegmentationConfig(seeds=2),
        EvaluationConfig(resamples=100),
    )


Do = Callable[..., list[str]]


@pytest.fixture
def do(tmp_path: Path) -> Do:
    """Carries a configuration out; returns what models were trained for it, or sampled from."""

    def carry_out(config: EnrichmentConfig, *, overwrite: bool = False, stop_after: int | None = None) -> list[str]:
        models = FakeModels()
        events = EnrichmentRun(config, tmp_path / "run", models).carry_out(overwrite=overwrite)
        for number, _ in enumerate(events):
            if number == stop_after:
                events.close()
                break
        return models.log

    return carry_out


def test_from_real_images_to_the_table(config: EnrichmentConfig, do: Do, tmp_path: Path) -> None:
    log = do(config)
    assert log[:5] == ["train cascade", "train mask cascade", "fit 1/seed-0", "open cascade", "open mask cascade"]
    assert (
        sorted(log[5:])
        == sorted(f"fit {name}/seed-{seed}" for name in config.segmentation.strategies for seed in (0, 1))[1:]
    )

    run = tmp_path / "run"
    found = Filtered.load(run / "filtered-pairs" / "pairs.json")
    assert len(found.pairs) == IMAGES
    provenance = json.loads((run / "synthetic-pairs" / "provenance.json").read_text())
    assert {*provenance["models"]} == {"cascade", "segmentation", "mask_cascade"}
    assert all(len(digest) == 64 for digest in provenance["models"].values())
    assert len(provenance["pairs"]) == 2 * len(found.kept)
    dataset = run / "synthetic-pairs" / "Dataset001_synthetic"
    for pair in provenance["pairs"]:
        written = np.asarray(PIL.Image.open(dataset / "imagesTr" / f"{pair['pair']}_0000.png"))
        drawn = np.asarray(PIL.Image.open(run / "sampled-variants" / "images" / f"{pair['name']}.png"))
        assert np.array_equal(written, drawn)
        mask = np.asarray(PIL.Image.open(run / "predicted-masks" / "masks" / f"{pair['mask']:06d}.png"))
        labels = np.asarray(PIL.Image.open(dataset / "labelsTr" / f"{pair['pair']}.png"))
        assert np.array_equal(labels, NucleiTask().labels(mask))

    rows, confidence = read_table(run / "table" / "table.json")
    assert confidence == 0.95
    assert {(row.strategy, row.split, row.images) for row in rows} == {
        (name, *split) for name in config.segmentation.strategies for split in (("seen", 2), ("unseen", 2), ("all", 4))
    }
    scores = read_scores(run / "evaluation" / "5" / "seed-1" / "scores.json")
    assert [each.name for each in scores] == ["seen-0", "seen-1", "unseen-0", "unseen-1"]
    row = next(row for row in rows if (row.strategy, row.split) == ("5", "seen"))
    assert row.figures["dice"].value == pytest.approx(np.mean([each.scores.dice for each in scores[:2]]))


def test_what_each_strategy_learns_from(config: EnrichmentConfig, do: Do, tmp_path: Path) -> None:
    do(config)
    kept = 2 * len(Filtered.load(tmp_path / "run" / "filtered-pairs" / "pairs.json").kept)
    learned = {
        name: (tmp_path / "run" / "segmentation" / name / "seed-0" / "model" / "learned.txt").read_text()
        for name in config.segmentation.strategies
    }
    counts = {name: [int(part.split()[0]) for part in text.split("; ")[:-1]] for name, text in learned.items()}
    assert counts == {"1": [4], "1a": [1], "2": [4, 4 + kept], "3": [4, kept], "4": [kept], "5": [kept, 4]}
    assert learned["2"].startswith(learned["1"])
    assert learned["5"].startswith(learned["4"])


def test_few_annotated_images_and_what_the_others_are_used_for(
    config: EnrichmentConfig, do: Do, tmp_path: Path
) -> None:
    few = replace(
        config,
        data=replace(config.data, annotated=2),
        filter=replace(config.filter, crops=400),  # of two images few crops have a narrow range
        segmentation=replace(config.segmentation, strategies=("1", "1b", "1c", "2"), synthetic_share=0.5, seeds=1),
    )
    do(few)
    run = tmp_path / "run"
    learned = {
        name: (run / "segmentation" / name / "seed-0" / "model" / "learned.txt").read_text()
        for name in few.segmentation.strategies
    }
    kept = 2 * len(Filtered.load(run / "filtered-pairs" / "pairs.json").kept)
    assert kept
    counts = {name: [int(part.split()[0]) for part in text.split("; ")[:-1]] for name, text in learned.items()}
    assert counts == {"1": [2], "1b": [2], "1c": [4], "2": [2, kept + 2 * round(kept / 2)]}
    assert len(list((run / "pseudo-labels" / "masks").iterdir())) == 2
    assert (run / "cascade" / "model" / "model.txt").read_text() == "cascade of 4"
    assert (run / "mask-cascade" / "model" / "model.txt").read_text().startswith("mask cascade of 2 ")
    assert do(few) == []
    other_image = run.parent / "other" / "other.png"
    other_image.parent.mkdir()
    PIL.Image.fromarray(np.full((128, 128, 3), 200, np.uint8)).save(other_image)
    more = replace(few, data=replace(few.data, unannotated=(other_image.parent,)))
    do(more, overwrite=True)
    PIL.Image.fromarray(np.full((128, 128, 3), 201, np.uint8)).save(other_image)  # of the same mask
    assert "fit 1c/seed-0" in do(more, overwrite=True)
    assert do(replace(few, data=replace(few.data, annotated=3)), overwrite=True)


def test_images_that_disagree_with_their_masks_are_dropped(
    config: EnrichmentConfig, do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = FakeMaskCascade.sample

    def second_is_blank(*arguments: Any) -> list[Image]:
        images = sample(*arguments)
        return [np.full_like(image, 200) if number % 2 else image for number, image in enumerate(images)]

    monkeypatch.setattr(FakeMaskCascade, "sample", second_is_blank)
    judged = replace(config, filter=replace(config.filter, agreement=0.6))
    do(judged)
    run = tmp_path / "run"
    values = json.loads((run / "agreement" / "agreement.json").read_text())["dice"]
    pairs = json.loads((run / "synthetic-pairs" / "provenance.json").read_text())["pairs"]
    assert {pair["name"] for pair in pairs} == {name for name, value in values.items() if value >= 0.6}
    assert len(pairs) * 2 == len(values)
    assert all(pair["agreement"] == values[pair["name"]] for pair in pairs)
    assert len(list((run / "synthetic-pairs" / "Dataset001_synthetic" / "imagesTr").iterdir())) == len(pairs)
    monkeypatch.setattr(
        FakeMaskCascade, "sample", lambda *arguments: [np.full_like(i, 200) for i in sample(*arguments)]
    )
    with pytest.raises(EnrichmentError, match=r"none of \d+ images agrees with its mask .* lower filter\.agreement"):
        do(replace(judged, sampling=replace(judged.sampling, seed=5)), overwrite=True)


def test_nnunet_has_no_stronger_augmentation() -> None:
    with pytest.raises(ValueError, match="nnU-Net's augmentation is strong already"):
        SegmentationConfig(model="nnunet", strategies=("1", "1b"))


def test_stronger_augmentation_has_crops_of_the_size_of_training() -> None:
    assert SmallUnetPlan(strong_augmentation=Augmentation(crop_px=256)).settings("strong augmentation").crop_px == 256
    with pytest.raises(ValueError, match="strong_augmentation: crop_px differs from that of training; leave it out"):
        SmallUnetPlan(strong_augmentation=Augmentation(crop_px=128))


def test_settings_that_do_not_fit_the_classes_are_refused_before_anything_is_trained(config: EnrichmentConfig) -> None:
    weighted = SmallUnetSettings(class_weights=(1.0, 2.0))
    wrong = replace(config, segmentation=replace(config.segmentation, small_unet=SmallUnetPlan(weighted, weighted)))
    with pytest.raises(SegmentationError, match="wanted 3 class weights"):
        TrainedModels(wrong)


def test_pseudo_labels_need_unannotated_images(config: EnrichmentConfig, do: Do) -> None:
    wrong = replace(config, segmentation=replace(config.segmentation, strategies=("1c",)))
    with pytest.raises(EnrichmentError, match=r"strategy 1c .* give data\.unannotated or data\.annotated"):
        do(wrong)


@pytest.mark.parametrize(
    ("synthetic", "real", "share", "wanted"),
    [
        (60, 2, 0.5, (60, 60)),
        (60, 2, 0.75, (60, 20)),
        (4, 10, 0.5, (8, 10)),
        (60, 2, None, (60, 2)),
        (6, 0, 0.5, (6, 0)),
    ],
)
def test_pairs_are_repeated_to_have_their_share(
    synthetic: int, real: int, share: float | None, wanted: tuple[int, int]
) -> None:
    def pairs(name: str, count: int) -> LabelledImages:
        return LabelledImages(LoadedPair(f"{name}-{number}") for number in range(count))

    names = [pair.name.split("-")[0] for pair in mixed(pairs("synthetic", synthetic), pairs("real", real), share)]
    assert (names.count("synthetic"), names.count("real")) == wanted


def test_repeated_pairs_are_read_once() -> None:
    read: list[str] = []

    class Counted(LoadedPair):
        def read(self) -> LabelledImage:
            read.append(self.name)
            return super().read()

    def pairs(name: str, count: int) -> LabelledImages:
        return LabelledImages(Counted(f"{name}-{number}") for number in range(count))

    repeated = mixed(pairs("synthetic", 30), pairs("real", 1), 0.1)
    few = mixed(pairs("synthetic", 4), pairs("real", 100), 0.9)
    assert len(repeated) == 30 + 270
    assert {pair.name for pair in repeated[30:]} == {"real-0"}
    assert read == ["real-0"]
    assert len({pair.name for pair in few[: len(few) - 100]}) == 4
    assert read == ["real-0", *(f"synthetic-{number}" for number in range(4))]


def test_nothing_is_done_twice_and_only_what_depends_on_a_change_again(config: EnrichmentConfig, do: Do) -> None:
    do(config)
    assert do(config) == []
    other = replace(config, sampling=replace(config.sampling, variants=1))
    with pytest.raises(EnrichmentError, match="sampled-variants: this step was done with other settings or inputs"):
        do(other)
    again = do(other, overwrite=True)
    assert again[0] == "open mask cascade"
    assert {each.split("/")[0] for each in again[1:]} == {"fit 2", "fit 3", "fit 4", "fit 5"}
    assert do(other) == []
    other = replace(other, evaluation=EvaluationConfig(resamples=50))
    assert do(other, overwrite=True) == []  # of all steps, only the table has changed


def test_a_run_that_is_stopped_goes_on_to_the_same_table(config: EnrichmentConfig, do: Do, tmp_path: Path) -> None:
    do(config)
    whole = (tmp_path / "run" / "table" / "table.json").read_bytes()
    variants = {path.name: path.read_bytes() for path in (tmp_path / "run" / "sampled-variants" / "images").iterdir()}
    (tmp_path / "run").rename(tmp_path / "whole")
    for stop_after in range(0, 60, 4):
        do(config, stop_after=stop_after)
    do(config)
    assert (tmp_path / "run" / "table" / "table.json").read_bytes() == whole
    for path in (tmp_path / "run" / "sampled-variants" / "images").iterdir():
        assert path.read_bytes() == variants[path.name]


def test_strategies_that_are_not_asked_for_are_trained_only_to_start_from(config: EnrichmentConfig, do: Do) -> None:
    log = do(replace(config, segmentation=SegmentationConfig(strategies=("5",), seeds=1)))
    assert [each for each in log if each.startswith("fit")] == ["fit 1/seed-0", "fit 4/seed-0", "fit 5/seed-0"]


def test_variants_of_given_tissues(config: EnrichmentConfig, do: Do, tmp_path: Path) -> None:
    given = ({"tissue": "Colon"}, {"tissue": "Kidney"})
    do(replace(config, sampling=replace(config.sampling, given=given)))
    provenance = json.loads((tmp_path / "run" / "synthetic-pairs" / "provenance.json").read_text())
    assert {pair["conditions"]["tissue"] for pair in provenance["pairs"]} == {"Colon", "Kidney"}
    with pytest.raises(ValueError, match="did you mean 'Colon'"):
        replace(config, sampling=replace(config.sampling, given=({"tissue": "Colom"},)))


@pytest.mark.parametrize("model", ["small-unet", "nnunet"])
def test_segmentation_is_trained_with_the_workers_of_the_configuration(
    config: EnrichmentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Literal["small-unet", "nnunet"]
) -> None:
    segmentation = SegmentationConfig(model, workers=3)
    monkeypatch.setattr(type(segmentation.plan), "check_installed", lambda _: None)
    models = TrainedModels(replace(config, segmentation=segmentation))
    for kind in ("training", "fine-tuning"):
        segmenter: Any = models.segmentation_model(tmp_path, kind=kind, plans=None)
        assert segmenter.workers == 3


class NnUnetModels(TrainedModels):
    """Cascades and a model of strategy 1 that take no time, and real nnU-Nets."""

    def train_cascade(self, folder: Path, images: LabelledImages) -> Iterator[Progress]:
        return FakeModels().train_cascade(folder, images)

    def train_mask_cascade(
        self, folder: Path, pairs: LabelledImages, unannotated: LabelledImages | None, start: Path
    ) -> Iterator[Progress]:
        return FakeModels().train_mask_cascade(folder, pairs, unannotated, start)

    def open_cascade(self, folder: Path) -> FakeCascade:  # type: ignore[override]
        return FakeCascade()

    def open_mask_cascade(self, folder: Path) -> FakeMaskCascade:  # type: ignore[override]
        return FakeMaskCascade()

    def segmentation_model(self, folder: Path, *, kind: TrainingKind, plans: Path | None) -> SegmentationModel:
        if folder.parts[-3] == "1":
            return FakeSegmenter(folder, [])
        return super().segmentation_model(folder, kind=kind, plans=plans)

    def open_segmentation_model(self, folder: Path) -> SegmentationModel:
        return FakeSegmenter(folder, []) if folder.parts[-3] == "1" else super().open_segmentation_model(folder)


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="the extra 'nnunet' is not installed")
def test_nnunets_share_the_plans_of_the_real_pairs(config: EnrichmentConfig, tmp_path: Path) -> None:
    settings = NnUnetSettings(
        epochs=1, steps_per_epoch=4, learning_rate=1e-2, patch_px=32, batch_size=4, base_features=4, elastic_share=0
    )
    chosen = SegmentationConfig(
        "nnunet", nnunet=NnUnetPlan(settings, replace(settings, steps_per_epoch=2)), strategies=("5",), seeds=1
    )
    config = replace(config, segmentation=chosen)
    run = EnrichmentRun(config, tmp_path / "run", NnUnetModels(config))
    trained = [event.step.name for event in run.carry_out() if event.step.name.startswith("segmentation/")]
    assert list(dict.fromkeys(trained)) == [
        "segmentation/plans",
        "segmentation/1/seed-0",  # predicts the masks
        "segmentation/4/seed-0",
        "segmentation/5/seed-0",
    ]
    folders = [tmp_path / "run" / "segmentation" / name / "seed-0" / "model" for name in ("4", "5")]
    plans = {(folder / "plans.json").read_text() for folder in folders}
    assert plans == {(tmp_path / "run" / "segmentation" / "plans" / "plans.json").read_text()}
    weights = [load_file(folder / "network.safetensors") for folder in folders]
    moved = [float((weights[1][name] - weights[0][name]).abs().max()) for name in weights[0]]
    assert 0 < max(moved) < 0.5  # the second goes on from the first
    scores = read_scores(tmp_path / "run" / "evaluation" / "5" / "seed-0" / "scores.json")
    assert [each.name for each in scores] == ["seen-0", "seen-1", "unseen-0", "unseen-1"]
    again = EnrichmentRun(config, tmp_path / "run", NnUnetModels(config))
    assert all(event.kept for event in again.carry_out())


@pytest.fixture
def drawing(config: EnrichmentConfig) -> EnrichmentConfig:
    """Draws masks too."""
    plan = MASK_DIFFUSION_PLANS["kumar-small"]
    plan = replace(plan, augmentation=replace(plan.augmentation, crop_px=64))
    return replace(
        config,
        sampling=replace(config.sampling, drawn_masks=5),
        mask_diffusion=MaskDiffusionSource(plan=plan),
        segmentation=SegmentationConfig(strategies=("4",), seeds=1),
    )


def test_a_cascade_is_finished_for_its_images_and_not_for_what_starts_from_it(
    config: EnrichmentConfig, tmp_path: Path
) -> None:
    def carry_out(chosen: EnrichmentConfig, *, overwrite: bool = False) -> FakeModels:
        models = FakeModels()
        for _ in EnrichmentRun(chosen, tmp_path / "run", models).carry_out(overwrite=overwrite):
            pass
        return models

    config = replace(config, segmentation=SegmentationConfig(strategies=("4",), seeds=1))
    carry_out(config)
    cascade = tmp_path / "run" / "mask-cascade" / "model" / "model.txt"
    before = cascade.read_text()
    finishing = {64: FinishingPlan(TrainingConfig(3, 1), steps=2)}
    finished = replace(config, cascade=replace(config.cascade, finishing=finishing))
    run = EnrichmentRun(finished, tmp_path / "run", FakeModels())
    sizes = {each.status.step.name: each.bytes for each in estimate(run.run.status())}
    assert sizes["finished-cascade"] == 1000 * 4 + 100 * 20  # one network of two is trained
    models = carry_out(finished, overwrite=True)
    assert models.log[:2] == ["finish cascade", "open cascade"]  # neither cascade is trained again
    assert cascade.read_text() == before
    provenance = json.loads((tmp_path / "run" / "synthetic-pairs" / "provenance.json").read_text())
    record = StepRecord.load(tmp_path / "run" / "finished-cascade")
    assert record is not None
    assert provenance["models"]["cascade"] == record.digest
    assert carry_out(finished).log == []


def test_without_finishing_steps_have_the_settings_that_they_had_before_there_was_any(
    config: EnrichmentConfig, tmp_path: Path
) -> None:
    steps = {step.name: step for step in EnrichmentRun(config, tmp_path / "run", FakeModels()).run.steps}
    assert "finished-cascade" not in steps
    assert "finish" not in json.dumps([dict(step.settings) for step in steps.values()])
    assert "finish" not in config_text(config)
    assert steps["sampled-images"].reads == ("cascade",)


def test_masks_are_drawn_beside_those_predicted(drawing: EnrichmentConfig, do: Do, tmp_path: Path) -> None:
    do(drawing, stop_after=8)
    log = do(drawing)  # goes on
    assert "train masks" not in log
    assert log.count("open masks") <= 1
    run = tmp_path / "run"
    provenance = json.loads((run / "synthetic-pairs" / "provenance.json").read_text())
    assert {*provenance["models"]} == {"cascade", "segmentation", "mask_cascade", "mask_diffusion"}
    assert {pair["mask_is"] for pair in provenance["pairs"]} == {"predicted", "drawn"}
    dataset = run / "synthetic-pairs" / "Dataset001_synthetic"
    for pair in provenance["pairs"]:
        assert (pair["mask_is"] == "drawn") == (pair["mask"] >= IMAGES)
        if pair["mask_is"] == "drawn":
            labels = np.asarray(PIL.Image.open(dataset / "labelsTr" / f"{pair['pair']}.png"))
            (drawn,) = FakeMaskDiffusion().sample([pair["mask_seed"]])
            assert np.array_equal(labels, NucleiTask().labels(NucleiTask().mask(drawn)))
    assert do(drawing) == []  # all is done


def test_drawn_masks_like_those_of_training_are_left_out(
    drawing: EnrichmentConfig, do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = open_real_images(drawing.data, KUMAR, seed=0).of("train")[1].read()[1][32:96, 16:80]
    monkeypatch.setattr(FakeMaskDiffusion, "sample", lambda _, seeds: [NucleiTask().labels(truth)] * len(seeds))
    do(drawing)
    found = Filtered.load(tmp_path / "run" / "filtered-pairs" / "drawn.json")
    assert [(each.reason, each.nearest) for each in found.pairs] == [(Reason.COPY, "train-1")] * 5
    assert (tmp_path / "run" / "filtered-pairs" / "dropped-drawn.png").exists()


def test_masks_to_draw_want_a_model_of_masks(config: EnrichmentConfig, drawing: EnrichmentConfig) -> None:
    for wrong in (
        {"sampling": drawing.sampling},
        {"mask_diffusion": drawing.mask_diffusion},
    ):
        with pytest.raises(ValueError, match="drawn_masks is the number of masks to sample from mask_diffusion"):
            replace(config, **wrong)  # type: ignore[arg-type]


def test_borders_given_to_a_cascade_are_as_wide_at_its_scale(config: EnrichmentConfig, tmp_path: Path) -> None:
    """Of real images they are drawn at full scale and reduced, of predicted masks at the run's scale."""

    class Models(FakeModels):
        classes = KUMAR_BORDER

    folder = write_kumar(tmp_path / "kumar", {"train": 1, "unseen": 1}, side_px=128)
    rows, cols = np.indices((128, 128))
    disks = np.select([(rows - 60) ** 2 + (cols - col) ** 2 < 400 for col in (40, 80)], [1, 2]).astype(np.uint16)
    PIL.Image.fromarray(disks).save(folder / "instances" / "train-0.png")
    assert config.mask_cascade.plan is not None
    plan = replace(config.mask_cascade.plan, augmentation=replace(config.mask_cascade.plan.augmentation, crop_px=128))
    halved = replace(config, data=DataConfig(kumar=folder, scale=0.5), mask_cascade=MaskCascadeSource(plan=plan))
    run = EnrichmentRun(halved, tmp_path / "run", Models())
    full = run.inputs.masked()[0].labels
    assert full is not None
    at_scale = run.inputs.task.labels(run.inputs.real.of("train")[0].read(0.5)[1])

    def agreement(labels: Labels) -> float:
        reduced = MaskCodec(KUMAR_BORDER).resize_labels(labels, (64, 64))
        return dice(truth=at_scale == 2, predicted=reduced == 2)

    assert agreement(full) > 0.8
    assert agreement(NucleiTask().labels(disks)) < 0.6  # as wide at full scale: half as wide when reduced


def test_a_test_image_in_training_is_refused(config: EnrichmentConfig, kumar: Path, tmp_path: Path) -> None:
    more = tmp_path / "unannotated"
    more.mkdir()
    with PIL.Image.open(kumar / "images" / "unseen-1.png") as picture:
        picture.save(more / "tile.tif")  # the same pixels, in another kind of file
    with pytest.raises(EnrichmentError, match=r"unseen-1 \(unseen\) has the same pixels as the training image tile"):
        open_real_images(replace(config.data, unannotated=(more,)), FakeModels.classes, seed=0)


def test_a_filter_that_keeps_nothing_is_an_error(config: EnrichmentConfig, do: Do) -> None:
    message = "none of 6 sampled pairs is kept (implausible share of foreground 6)"
    with pytest.raises(EnrichmentError, match=re.escape(message)):
        do(replace(config, filter=FilterConfig(outside=0.4999, crops=40)))


def test_disk_is_estimated_before_anything_has_run(config: EnrichmentConfig, tmp_path: Path) -> None:
    found = estimate(EnrichmentRun(config, tmp_path / "run", FakeModels()).run.status())
    sizes = {each.status.step.name: each.bytes for each in found}
    assert sizes["cascade"] == 1100 * 20  # a training's state, and the model
    assert sizes["mask-cascade"] == 1100 * 36  # of two trainings, on blank masks first
    assert sizes["sampled-variants"] == 2 * sizes["sampled-images"]
    assert not (tmp_path / "run").exists()


def test_a_configuration_is_the_same_from_its_file(config: EnrichmentConfig, tmp_path: Path) -> None:
    path = tmp_path / "enrich.toml"
    path.write_text(config_text(config))
    assert read_enrichment_config(path) == config


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("variants = 2", "varients = 2", "unknown key 'sampling.varients'; did you mean 'variants'"),
        ("seeds = 2", "seeds = 0", "seeds is at least 1"),
        ("scale = 1.0", "scale = 0.5", "data.scale: the plan makes images of 64 px of crops of 64 px"),
        ("outside = 0.0", "outside = 0.7", r"outside lies in \[0, 0.5\)"),
        ('"1a"', '"1d"', "segmentation.strategies.1"),
        ("[mask_cascade", "[cascade.finishing.64]\n[mask_cascade", r"cascade\.finishing\.64: .*set finishing\.steps"),
        ("[mask_cascade", "[cascade.finishing.48]\nsteps = 4\n[mask_cascade", "networks make images of 32 and 64 px"),
        ("[mask_cascade", "[cascade.finishing.64]\nstep = 4\n[mask_cascade", "unknown key 'cascade.finishing.64.step'"),
    ],
)
def test_what_is_wrong_in_a_configuration(
    config: EnrichmentConfig, tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = config_text(config)
    assert old in text
    path = tmp_path / "enrich.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        read_enrichment_config(path)


def test_paths_start_where_the_file_lies(kumar: Path) -> None:
    path = kumar.parent / "enrich.toml"
    path.write_text(
        '[data]\nkumar = "kumar"\nscale = 0.5\n[cascade]\nfolder = "d"\n[mask_cascade]\nplan = "kumar-small"\n'
    )
    config = read_enrichment_config(path)
    assert config.data.kumar == kumar.resolve()
    assert config.cascade.folder == kumar.parent.resolve() / "d"
    assert config.mask_cascade.plan == MASK_PLANS["kumar-small"]
