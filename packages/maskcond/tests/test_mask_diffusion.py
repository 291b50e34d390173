from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_core import Cascade, CheckpointError, ConfigError, SamplingConfig, TrainingConfig
from maskcond import (
    KIDNEY,
    KUMAR,
    KUMAR_BORDER,
    Augmentation,
    ClassSet,
    Instances,
    LabelledImage,
    LabelledImages,
    MaskClass,
    MaskDiffusion,
    MaskDiffusionNetwork,
    MaskDiffusionPlan,
    MaskError,
    MaskPictureExamples,
    MaskPictures,
    aji,
    instances_of_labels,
    labels_of_instances,
    sample_masks,
    train_mask_diffusion,
    widen_for_masks,
)

Make = Callable[..., Cascade]


def class_set(count: int) -> ClassSet:
    return ClassSet(tuple(MaskClass(f"class {n}", (n + 1, 0, 0)) for n in range(count)))


class Halves:
    """Masks of class 1 above some row and class 2 below it; the rest has no class."""

    def read(self) -> LabelledImage:
        labels = np.zeros((48, 48), np.uint8)
        labels[:24], labels[32:] = 1, 2
        return LabelledImage("halves", np.zeros((48, 48, 3), np.uint8), labels)


@pytest.mark.parametrize("count", range(1, 8))
def test_labels_come_back_from_a_noisy_picture(count: int) -> None:
    rng = np.random.default_rng(count)
    pictures, labels = MaskPictures(class_set(count).classes), rng.integers(count + 1, size=(20, 30)).astype(np.uint8)
    picture = pictures.paint(labels)
    assert picture.shape == (3, 20, 30)
    assert set(np.unique(picture)) <= {0, 1}
    assert np.array_equal(pictures.read(picture + rng.uniform(-0.49, 0.49, picture.shape)), labels)
    if count <= 3:  # a channel for each class
        assert np.array_equal(picture[:count], pictures.codec.encode(labels))
    assert pictures.read(rng.uniform(0, 1, (3, 50, 50))).max() == count  # never a number that is no class


def test_what_no_picture_can_show_is_refused() -> None:
    with pytest.raises(MaskError, match="wanted masks of up to 7 classes, got 8"):
        MaskPictures(class_set(8).classes)
    with pytest.raises(MaskError, match="unknown class numbers 2"):
        MaskPictures(KUMAR.classes).paint(np.full((4, 4), 2, np.uint8))


@pytest.mark.parametrize("classes", [KUMAR, KUMAR_BORDER], ids=["nuclei", "border"])
def test_instances_and_labels_there_and_back(nuclei: Instances, classes: ClassSet) -> None:
    again = instances_of_labels(labels_of_instances(nuclei, classes), classes)
    assert np.array_equal(again > 0, nuclei > 0)
    if classes == KUMAR_BORDER:
        assert aji(truth=nuclei, predicted=again) > 0.9
    with pytest.raises(MaskError, match="wanted labels of one class, got tubuli"):
        instances_of_labels(np.zeros((4, 4), np.uint8), KIDNEY)


def test_examples_are_pictures_of_crops(nuclei: Instances) -> None:
    labels = labels_of_instances(nuclei, KUMAR_BORDER)
    images = [LabelledImage("a", np.zeros((*labels.shape, 3), np.uint8), labels)]
    pictures = MaskPictures(KUMAR_BORDER.classes)
    settings = {"image_px": 32, "augmentation": Augmentation(crop_px=64, colour=0.5)}
    examples = MaskPictureExamples(images, pictures, **settings)  # type: ignore[arg-type]
    first = examples[3]["image"]
    assert first.shape == (3, 32, 32)
    assert first.dtype == torch.float32
    assert torch.equal(first, examples[3]["image"])
    assert not torch.equal(first, examples[4]["image"])
    shares = torch.stack([examples[draw]["image"] for draw in range(200)]).mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(shares[:2], [np.mean(labels == 1), np.mean(labels == 2)], atol=0.04)
    with pytest.raises(MaskError, match="b: has no labels to learn from"):
        MaskPictureExamples([LabelledImage("b", images[0].image)], pictures, **settings)[0]  # type: ignore[arg-type]


def test_masks_are_drawn_as_they_were_learnt(tiny_cascade: Make, tmp_path: Path) -> None:
    base = tiny_cascade(dim_mults=(1, 2), init_conv_kernel_size=3).config.stages[0]
    training = TrainingConfig(80, 8, learning_rate=6e-3, ema_decay=0.9, log_every=100, sample_every=1000)
    plan = MaskDiffusionPlan(
        MaskPictures(KUMAR_BORDER.classes),
        (MaskDiffusionNetwork(replace(base, sampling=SamplingConfig(10, "dpmpp_2m")), training),),
        Augmentation(crop_px=48, dihedral=False),
    )
    for event in train_mask_diffusion(plan, LabelledImages([Halves()]), tmp_path / "run", device="cpu"):
        assert event.network == "8-masks"
    model = MaskDiffusion.load(tmp_path / "run" / "model")
    drawn = list(sample_masks(model, 5, seed=3, batch_size=2))
    alone = list(sample_masks(model, 5, seed=3, batch_size=1))
    wanted = np.zeros((8, 8), np.uint8)
    wanted[:4], wanted[5:] = 1, 2  # rows 24 to 32 of 48 are one and a third of 8
    for mask, same in zip(drawn, alone, strict=True):
        assert np.mean(mask == same) > 0.98
        assert np.mean(mask == wanted) > 0.85
    with pytest.raises(ConfigError, match="holds a run"):
        next(iter(train_mask_diffusion(plan, LabelledImages([Halves()]), tmp_path / "run", device="cpu")))


def test_a_model_that_does_not_fit_is_refused(tiny_cascade: Make, tmp_path: Path) -> None:
    cascade = tiny_cascade()
    MaskDiffusion(KIDNEY, cascade).save(tmp_path)
    loaded = MaskDiffusion.load(tmp_path)
    assert loaded.pictures.codec.classes == KIDNEY
    assert loaded.provenance == {"data": "noise"}
    for mask in sample_masks(loaded, 2):
        assert mask.shape == (16, 16)
    path = tmp_path / "model.toml"
    path.write_text(path.read_text().replace("classes", "klasses"))
    with pytest.raises(ConfigError, match="unknown key 'klasses'; did you mean 'classes'"):
        MaskDiffusion.load(tmp_path)
    with pytest.raises(ValueError, match="the stage of 8 px is conditioned; use an unconditional cascade"):
        MaskDiffusion(KUMAR, widen_for_masks(cascade, KUMAR).cascade)
    widen_for_masks(cascade, KUMAR).save(tmp_path, overwrite=True)
    with pytest.raises(CheckpointError, match="holds a model of kind 'mask-cascade', wanted 'mask-diffusion'"):
        MaskDiffusion.load(tmp_path)
    with pytest.raises(MaskError, match="count and batch_size are at least 1 and seed 0, got 1, 0 and 0"):
        next(sample_masks(loaded, 1, batch_size=0))
    networks = tuple(MaskDiffusionNetwork(stage, TrainingConfig(1, 1)) for stage in cascade.config.stages)
    with pytest.raises(ValueError, match="crop_px 12 is under the last stage's image_px 16"):
        MaskDiffusionPlan(MaskPictures(KUMAR.classes), networks, Augmentation(crop_px=12))
