import math
import os
import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from maskcond import (
    KUMAR,
    KUMAR_BORDER,
    Augmentation,
    aji,
    border_labels,
    connected_components,
    dice,
    instances_from_borders,
)
from maskcond.annotations.labelled_images import LabelledImage
from maskcond.segmentation import NucleiTask, SegmentationError, SegmentationModel, SmallUnet, SmallUnetSettings
from maskcond.segmentation.small_unet.training import Crops, Losses
from run_folder import FolderLock, LockedError

pytest.importorskip("dynamic_network_architectures", reason="the extra 'unet' is not installed")

README = Path(__file__).parents[1] / "README.md"
SETTINGS = SmallUnetSettings(
    features=(8, 16, 32),
    steps=40,
    batch_size=4,
    learning_rate=1e-2,
    augmentation=Augmentation(crop_px=32, rotation_degrees=20, colour=0.1),
)


def blobs(count: int, seed: int, size: tuple[int, int] = (48, 64)) -> list[LabelledImage]:
    """Dark discs on a bright ground, both noisy; another noise is everywhere, so that no single pixel tells."""
    generator = np.random.default_rng(seed)
    rows, cols = np.indices(size)
    pairs = []
    for number in range(count):
        labels = np.zeros(size, np.uint8)
        for _ in range(5):
            row, col, radius = generator.uniform((0, 0, 4), (*size, 9))
            labels[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = 1
        light = np.where(labels[..., None] > 0, 100, 160) + generator.normal(0, 40, (*size, 3))
        pairs.append(LabelledImage(f"blobs-{number}", light.clip(0, 255).astype(np.uint8), labels))
    return pairs


def run(model: SegmentationModel, pairs: Sequence[LabelledImage], **told: int | Path) -> list[float]:
    return [progress.loss for progress in model.fit(pairs, **told)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SmallUnet:
    model = SmallUnet(tmp_path_factory.mktemp("models") / "first", KUMAR, SETTINGS)
    run(model, blobs(6, seed=0))
    return model


def weights(model: SmallUnet) -> bytes:
    return (model.folder / "network.safetensors").read_bytes()


def test_learns_what_it_is_shown(trained: SmallUnet) -> None:
    unseen = blobs(4, seed=1)
    predicted = list(trained.predict(pair.image for pair in unseen))
    figures = [dice(truth=pair.labels, predicted=labels) for pair, labels in zip(unseen, predicted, strict=True)]
    # all foreground, the best of guesses that look at nothing
    chance = [dice(truth=pair.labels, predicted=np.ones_like(pair.labels)) for pair in unseen]
    assert np.mean(figures) > 0.85 > np.mean(chance) + 0.2


def test_touching_nuclei_are_separated_by_their_distances(tmp_path: Path) -> None:
    def pairs(count: int, seed: int) -> list[LabelledImage]:
        """Two discs that touch, of one colour."""
        generator, made = np.random.default_rng(seed), []
        rows, cols = np.indices((48, 64))
        for number in range(count):
            row, col = generator.uniform(14, 34), generator.uniform(16, 30)
            nuclei = np.zeros((48, 64), np.int32)
            for index in (1, 2):
                nuclei[(rows - row) ** 2 + (cols - col - 16 * (index - 1)) ** 2 < 81] = index
            light = np.where(nuclei[..., None] > 0, 100, 160) + generator.normal(0, 10, (48, 64, 3))
            made.append(LabelledImage(f"two-{number}", light.clip(0, 255).astype(np.uint8), border_labels(nuclei)))
        return made

    settings = replace(SETTINGS, steps=60, distances=True, flips=True)
    model = SmallUnet(tmp_path, KUMAR_BORDER, settings)
    run(model, pairs(6, seed=0))
    unseen = pairs(4, seed=1)
    for pair, labels in zip(unseen, model.predict(pair.image for pair in unseen), strict=True):
        found = NucleiTask().mask(labels)
        assert found.max() == 2
        assert aji(truth=instances_from_borders(pair.labels), predicted=found) > 0.8


def test_opened_again_it_predicts_the_same(trained: SmallUnet) -> None:
    images = [pair.image for pair in blobs(2, seed=2, size=(37, 91))]
    again = SmallUnet.open(trained.folder)
    assert again.settings == SETTINGS
    for first, second in zip(trained.predict(images), again.predict(images), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 64), (33, 200)])
def test_images_of_any_size(trained: SmallUnet, size: tuple[int, int]) -> None:
    (labels,) = trained.predict([np.full((*size, 3), 160, np.uint8)])
    assert labels.shape == size
    assert labels.dtype == np.uint8


def test_models_of_earlier_versions_go_on_and_are_started_from(tmp_path: Path) -> None:
    settings, pairs = replace(SETTINGS, steps=2), blobs(2, seed=0)
    first = SmallUnet(tmp_path / "first", KUMAR, settings)
    run(first, pairs)
    record = first.folder / "model.toml"
    added = ("distances", "block_px", "flips", "scale")
    lines = [line for line in record.read_text().splitlines() if line.split(" = ")[0] not in added]
    assert len(lines) + len(added) == len(record.read_text().splitlines())
    record.write_text("\n".join(lines))
    assert run(first, pairs) == []  # its settings are the same
    assert SmallUnet.open(first.folder).settings == settings
    assert len(run(SmallUnet(tmp_path / "tuned", KUMAR, settings), pairs, start_from=first.folder)) == 2
    blocks = SmallUnet(tmp_path / "blocks", KUMAR, replace(settings, block_px=2))
    with pytest.raises(SegmentationError, match="has block_px 1, wanted 2"):
        run(blocks, pairs, start_from=first.folder)


def test_crops_with_distances_are_the_same_in_a_process_that_gets_them_pickled() -> None:
    pairs = [replace(pair, labels=border_labels(connected_components(pair.labels))) for pair in blobs(2, seed=0)]
    crops = Crops(pairs, SETTINGS.augmentation, seed=0, distances=True)
    before = crops[3]
    for sent in (crops, pickle.loads(pickle.dumps(crops))):  # noqa: S301 - its own
        for one, other in zip(before, sent[3], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_network_on_blocks_of_pixels_labels_images_of_any_size(tmp_path: Path) -> None:
    model = SmallUnet(tmp_path / "blocks", KUMAR, replace(SETTINGS, steps=20, block_px=2))
    run(model, blobs(2, seed=0))
    sizes = [(5, 7), (64, 64), (33, 70)]
    predicted = list(model.predict(np.full((*size, 3), 160, np.uint8) for size in sizes))
    assert [labels.shape for labels in predicted] == sizes
    plain = SmallUnet(tmp_path / "plain", KUMAR, SETTINGS)
    with pytest.raises(SegmentationError, match="has block_px 2, wanted 1"):
        run(plain, blobs(2, seed=0), start_from=model.folder)


def test_interrupted_and_resumed_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    settings, pairs = replace(SETTINGS, steps=6), blobs(2, seed=0)
    undisturbed = SmallUnet(tmp_path / "undisturbed", KUMAR, settings)
    losses = run(undisturbed, pairs, seed=3)
    disturbed = SmallUnet(tmp_path / "disturbed", KUMAR, settings, checkpoint_every=2)
    training = disturbed.fit(pairs, seed=3)
    for _ in range(5):
        next(training)
    training.close()
    assert not disturbed.is_trained
    assert run(disturbed, pairs, seed=3) == losses[4:]
    assert weights(disturbed) == weights(undisturbed)
    assert run(disturbed, pairs, seed=3) == []


class ObservedPairs(list[LabelledImage]):
    """Pairs that record which processes read them."""

    def __init__(self, pairs: Sequence[LabelledImage], folder: Path) -> None:
        super().__init__(pairs)
        self.folder = folder
        folder.mkdir()

    def __getitem__(self, number: Any) -> Any:
        (self.folder / str(os.getpid())).touch()
        return super().__getitem__(number)

    @property
    def other_processes(self) -> int:
        """Number of processes besides this one that have read a pair."""
        return len({path.name for path in self.folder.iterdir()} - {str(os.getpid())})


def test_workers_make_the_crops_and_change_nothing(tmp_path: Path) -> None:
    settings, pairs = replace(SETTINGS, steps=3), ObservedPairs(blobs(2, seed=0), tmp_path / "read")
    alone, helped = (SmallUnet(tmp_path / str(count), KUMAR, settings, workers=count) for count in (0, 2))
    losses = run(alone, pairs)
    assert pairs.other_processes == 0
    training = helped.fit(pairs)
    assert [next(training).loss for _ in range(2)] == losses[:2]
    training.close()
    assert pairs.other_processes == 2
    assert run(helped, pairs) == losses
    assert weights(helped) == weights(alone)
    assert (helped.folder / "model.toml").read_text() == (alone.folder / "model.toml").read_text()


def test_the_losses_of_a_gpu_are_read_now_and_then() -> None:
    losses, read = Losses(every=3), []
    for step, value in enumerate((0.9, 0.8, 0.7, 0.6, 0.5), 5):
        read.append(losses.add(torch.tensor(value), step, read=step == 9))
    assert read == pytest.approx([0.9, 0.8, 0.8, 0.8, 0.5])
    losses.add(torch.tensor(math.nan), 10, read=False)
    with pytest.raises(SegmentationError, match="not finite in step 10; lower the learning rate"):
        losses.add(torch.tensor(0.4), 11, read=True)


def test_the_seed_makes_the_model(tmp_path: Path) -> None:
    settings, pairs = replace(SETTINGS, steps=2), blobs(2, seed=0)
    models = [SmallUnet(tmp_path / str(number), KUMAR, settings) for number in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        run(model, pairs, seed=seed)
    assert weights(models[0]) == weights(models[1]) != weights(models[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fine_tuning_starts_where_the_other_ended(trained: SmallUnet, tmp_path: Path) -> None:
    tuned = SmallUnet(tmp_path / "tuned", KUMAR, replace(SETTINGS, steps=1, learning_rate=1e-12, final_learning_rate=0))
    run(tuned, blobs(3, seed=5), start_from=trained.folder)
    images = [pair.image for pair in blobs(2, seed=6)]
    for first, second in zip(trained.predict(images), tuned.predict(images), strict=True):
        np.testing.assert_array_equal(first, second)


def test_class_weights_move_the_balance(tmp_path: Path) -> None:
    pairs, found = blobs(2, seed=0), []
    for number, weight in enumerate((0.05, 20.0)):
        settings = replace(SETTINGS, steps=15, class_weights=(1.0, weight))
        model = SmallUnet(tmp_path / str(number), KUMAR, settings)
        run(model, pairs)
        found.append(np.mean([labels.mean() for labels in model.predict(pair.image for pair in pairs)]))
    assert found[0] < found[1]


def test_trained_otherwise_is_refused(trained: SmallUnet) -> None:
    with pytest.raises(SegmentationError, match=r"trained differently \(seed was 0, now 1\)"):
        run(trained, blobs(6, seed=0), seed=1)
    with pytest.raises(SegmentationError, match=r"trained differently \(pairs was 6, now 5\)"):
        run(trained, blobs(5, seed=0))
    with pytest.raises(SegmentationError, match=r"settings\.steps was 40, now 41"):
        run(SmallUnet(trained.folder, KUMAR, replace(SETTINGS, steps=41)), blobs(6, seed=0))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("what a file manager leaves")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SegmentationError, match="is not empty"):
        run(SmallUnet(tmp_path, KUMAR, SETTINGS), blobs(1, seed=0))
    (tmp_path / "notes.txt").unlink()
    run(SmallUnet(tmp_path, KUMAR, replace(SETTINGS, steps=1)), blobs(1, seed=0))
    assert {path.name for path in tmp_path.iterdir()} == {".DS_Store", "model.toml", "network.safetensors"}


def test_one_training_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "model"), pytest.raises(LockedError, match="model: a run is at work here"):
        run(SmallUnet(tmp_path / "model", KUMAR, replace(SETTINGS, steps=1)), blobs(1, seed=0))
    assert not (tmp_path / "model").exists()


def test_untrained_models_are_refused(trained: SmallUnet, tmp_path: Path) -> None:
    model = SmallUnet(tmp_path / "new", KUMAR, SETTINGS)
    with pytest.raises(SegmentationError, match="the model is not trained"):
        next(model.predict([np.zeros((8, 8, 3), np.uint8)]))
    with pytest.raises(SegmentationError, match="no segmentation model"):
        run(model, blobs(1, seed=0), start_from=tmp_path / "nowhere")
    other = SmallUnet(tmp_path / "other", KUMAR, replace(SETTINGS, features=(8, 16)))
    with pytest.raises(SegmentationError, match="has features"):
        run(other, blobs(1, seed=0), start_from=trained.folder)


def test_weights_of_another_network_are_refused(trained: SmallUnet) -> None:
    model = SmallUnet(trained.folder, KUMAR, replace(SETTINGS, features=(4, 8, 16)))
    with pytest.raises(SegmentationError, match="not the weights of this network"):
        next(model.predict([np.zeros((8, 8, 3), np.uint8)]))


def spoiled(**changed: object) -> list[LabelledImage]:
    return [*blobs(1, seed=0), replace(blobs(1, seed=1)[0], name="second", **changed)]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "at least one labelled image"),
        (spoiled(labels=None), "second: no labels"),
        (spoiled(labels=np.zeros((48, 48), np.uint8)), "second: the labels are 48 x 48 px, the image 64 x 48 px"),
        (spoiled(labels=np.full((48, 64), 7, np.uint8)), "second: unknown class numbers 7"),
        (spoiled(image=np.zeros((48, 64), np.uint8)), "second: wanted an image of shape"),
        (blobs(1, seed=0, size=(48, 31)), "31 x 48 px, smaller than the crops of 32 px"),
        ([replace(blobs(1, seed=0)[0], labels=np.zeros((48, 64), np.uint8))], "nothing to learn"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs: list[LabelledImage], message: str, tmp_path: Path) -> None:
    with pytest.raises(SegmentationError, match=message):
        run(SmallUnet(tmp_path / "model", KUMAR, SETTINGS), pairs)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": (8,)}, "two resolutions"),
        ({"steps": 0}, "wanted steps of at least 1, got 0"),
        ({"block_px": 0}, "wanted block_px of at least 1, got 0"),
        ({"block_px": 8}, "multiple of 32 px"),
        ({"learning_rate": 1e-6, "final_learning_rate": 1e-5}, "learning rates that fall"),
        ({"augmentation": Augmentation(crop_px=30)}, "multiple of 4 px"),
        ({"augmentation": Augmentation()}, "got 0"),
        ({"class_weights": (1.0, 0.0)}, "positive class weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(SegmentationError, match=message):
        replace(SETTINGS, **changed)


def test_arguments_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SegmentationError, match="wanted 2 class weights"):
        SmallUnet(tmp_path, KUMAR, replace(SETTINGS, class_weights=(1.0, 1.0, 1.0)))
    with pytest.raises(SegmentationError, match="distances: wanted the classes nuclei and border, got nuclei"):
        SmallUnet(tmp_path, KUMAR, replace(SETTINGS, distances=True))
    with pytest.raises(SegmentationError, match="wanted workers of at least 0, or 'auto', got -1"):
        SmallUnet(tmp_path, KUMAR, SETTINGS, workers=-1)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    settings = replace(SETTINGS, learning_rate=1e30, steps=20)
    with pytest.raises(SegmentationError, match="lower the learning rate"):
        run(SmallUnet(tmp_path / "model", KUMAR, settings), blobs(1, seed=0))


def test_the_example_in_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    index = ["image,split,organ,disease"]
    for part in ("images", "instances"):
        (tmp_path / "kumar" / part).mkdir(parents=True)
    for pair, split in zip(blobs(3, seed=0), ("train", "seen", "unseen"), strict=True):
        index.append(f"{pair.name},{split},Kidney,Kidney renal clear cell carcinoma")
        for part, array in (("images", pair.image), ("instances", connected_components(pair.labels).astype(np.uint8))):
            PIL.Image.fromarray(array).save(tmp_path / "kumar" / part / f"{pair.name}.png")
    (tmp_path / "kumar" / "index.csv").write_text("\n".join(index))
    told: dict[str, Any] = {}
    exec(example, told)  # noqa: S102
    told["main"](tmp_path / "kumar", tmp_path / "model", replace(SETTINGS, steps=3))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("FitProgress(done=1, total=3, loss=")
    assert lines[-1].startswith("blobs-2 SegmentationScores(dice=")
