import importlib.util
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from maskcond import KUMAR, ClassSet, MaskClass, MaskError, dice
from maskcond.annotations.labelled_images import LabelledImage
from maskcond.segmentation import NnUnet, NnUnetSettings, SegmentationError, export_nnunet_dataset, plan_nnunet
from maskcond.segmentation.loading import load_batches
from maskcond.segmentation.nnunet.batches import SeededBatches, as_it_is
from maskcond.segmentation.nnunet.session import nnunet_session

SETTINGS = NnUnetSettings(
    epochs=2, steps_per_epoch=12, learning_rate=1e-2, patch_px=32, batch_size=4, base_features=4, elastic_share=0.2
)
needs_nnunet = pytest.mark.skipif(
    importlib.util.find_spec("nnunetv2") is None, reason="the extra 'nnunet' is not installed"
)


def squares(count: int, seed: int, size: tuple[int, int] = (40, 48)) -> list[LabelledImage]:
    """Dark squares on a bright ground, both noisy."""
    generator = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        labels = np.zeros(size, np.uint8)
        for _ in range(3):
            row, col = generator.integers(0, np.subtract(size, 12))
            labels[row : row + 12, col : col + 12] = 1
        light = np.where(labels[..., None] > 0, 80, 180) + generator.normal(0, 30, (*size, 3))
        pairs.append(LabelledImage(f"squares {number}", light.clip(0, 255).astype(np.uint8), labels))
    return pairs


@pytest.fixture(scope="module")
def pairs() -> list[LabelledImage]:
    return squares(4, seed=0)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory, pairs: list[LabelledImage]) -> Path:
    path = tmp_path_factory.mktemp("plans") / "plans.json"
    plan_nnunet(pairs, path, KUMAR, SETTINGS)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pairs: list[LabelledImage], plans: Path) -> Iterator[NnUnet]:
    """A model that was interrupted after its first epoch, and went on."""
    model = NnUnet(tmp_path_factory.mktemp("models") / "first", KUMAR, SETTINGS, plans=plans, checkpoint_every=1)
    training = model.fit(squares(3, seed=7))
    assert next(training).done == 1
    training.close()
    assert not model.is_trained
    assert [progress.done for progress in model.fit(squares(3, seed=7))] == [2]
    return model


@needs_nnunet
def test_plans_say_what_the_settings_say(plans: Path) -> None:
    configuration = json.loads(plans.read_text())["configurations"]["2d"]
    assert configuration["batch_size"] == 4
    assert configuration["patch_size"] == [32, 32]
    assert configuration["architecture"]["arch_kwargs"]["features_per_stage"][0] == 4
    assert [path.name for path in plans.parent.iterdir()] == ["plans.json"]


@needs_nnunet
def test_trains_fine_tunes_and_predicts(trained: NnUnet, pairs: list[LabelledImage], tmp_path: Path) -> None:
    tuned = NnUnet(tmp_path / "tuned", KUMAR, replace(SETTINGS, epochs=1, steps_per_epoch=24, learning_rate=3e-3))
    (progress,) = tuned.fit(pairs, start_from=trained.folder)
    assert progress.total == 1
    assert progress.learning_rate == pytest.approx(3e-3)
    held_out = squares(2, seed=1, size=(50, 41))
    predicted = list(NnUnet.open(tuned.folder).predict(pair.image for pair in held_out))
    figures = [dice(truth=pair.labels, predicted=labels) for pair, labels in zip(held_out, predicted, strict=True)]
    chance = [dice(truth=pair.labels, predicted=np.ones_like(pair.labels)) for pair in held_out]
    assert np.mean(figures) > 0.8 > np.mean(chance)
    kept = {"model.toml", "network.safetensors", "plans.json", "dataset.json", "nnunet"}
    assert {path.name for path in tuned.folder.iterdir()} == kept
    assert [path.name for path in (tuned.folder / "nnunet").iterdir()] == ["nnunet.log"]


@needs_nnunet
def test_fine_tuning_starts_where_the_other_ended(trained: NnUnet, pairs: list[LabelledImage], tmp_path: Path) -> None:
    still = replace(SETTINGS, epochs=1, steps_per_epoch=1, learning_rate=1e-12, final_learning_rate=0)
    model = NnUnet(tmp_path / "still", KUMAR, still)
    list(model.fit(pairs[:1], start_from=trained.folder))
    (first,), (second,) = (each.predict([pairs[0].image]) for each in (trained, model))
    np.testing.assert_array_equal(first, second)
    assert list(trained.fit(squares(3, seed=7))) == []  # done before


@needs_nnunet
def test_workers_make_the_batches_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it change how a training goes on that an earlier version began: its batches have no numbers."""
    short, pairs, models = replace(SETTINGS, steps_per_epoch=2), squares(2, seed=7), {}
    for name, workers in (("alone", 0), ("helped", 2), ("older", 2)):
        models[name] = NnUnet(tmp_path / name, KUMAR, short, checkpoint_every=1, workers=workers)
    training = models["alone"].fit(pairs)
    next(training)
    training.close()
    for name in ("helped", "older"):
        shutil.copytree(models["alone"].folder, models[name].folder)
    record = models["older"].folder / "model.toml"
    record.write_text(record.read_text().replace('batch_seeds = "number"\n', ""))
    counts: list[Any] = []
    monkeypatch.setattr(
        "maskcond.segmentation.nnunet.trainer.load_batches",
        lambda *args, **options: counts.append(args[3]) or load_batches(*args, **options),
    )
    losses = {name: [progress.loss for progress in model.fit(pairs)] for name, model in models.items()}
    assert counts == [0, 2]  # batches of the older training have no numbers, so this process makes them
    assert losses["helped"] == losses["alone"] != losses["older"]
    weights = [(models[name].folder / "network.safetensors").read_bytes() for name in ("alone", "helped")]
    assert weights[0] == weights[1]
    assert "batch_seeds" not in record.read_text()


def test_a_batch_depends_on_its_number_alone() -> None:
    class Draws:
        def __next__(self) -> dict[str, object]:
            drawn = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: S311
            return {
                "data": torch.tensor(drawn),
                "target": [torch.zeros(1)],
                "keys": np.array(["pair-00001"]),
                "process": os.getpid(),
            }

    batches, states = SeededBatches(Draws(), seed=3), (random.getstate(), torch.random.get_rng_state())
    made = [
        list(load_batches(batches, range(1, 4), torch.device("cpu"), workers, batch_size=None, collate_fn=as_it_is))
        for workers in (0, 2)
    ]
    assert {batch["process"] for batch in made[0]} == {os.getpid()}
    assert os.getpid() not in {batch["process"] for batch in made[1]}
    for here, there in zip(*made, strict=True):
        assert torch.equal(here["data"], there["data"])
        assert list(there["keys"]) == ["pair-00001"]
    assert torch.equal(made[0][1]["data"], batches[2]["data"])
    assert not torch.equal(made[0][0]["data"], made[0][1]["data"])
    assert random.getstate() == states[0]
    assert torch.equal(torch.random.get_rng_state(), states[1])


@needs_nnunet
def test_what_does_not_fit_is_refused(trained: NnUnet, pairs: list[LabelledImage], plans: Path, tmp_path: Path) -> None:
    with pytest.raises(SegmentationError, match="the model is not trained"):
        next(NnUnet(tmp_path / "new", KUMAR, SETTINGS).predict([pairs[0].image]))
    with pytest.raises(SegmentationError, match="has base_features 4, wanted 8"):
        next(NnUnet(tmp_path / "new", KUMAR, replace(SETTINGS, base_features=8)).fit(pairs, start_from=trained.folder))
    with pytest.raises(SegmentationError, match=r"trained differently \(seed was 0, now 1\)"):
        next(trained.fit(squares(3, seed=7), seed=1))
    other = json.loads(plans.read_text())
    other["configurations"]["2d"]["batch_size"] = 5
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(SegmentationError, match="has other plans"):
        next(
            NnUnet(tmp_path / "new", KUMAR, SETTINGS, plans=tmp_path / "other.json").fit(
                pairs, start_from=trained.folder
            )
        )
    with pytest.raises(SegmentationError, match="planned with batch_size 5, the settings have 4"):
        next(NnUnet(tmp_path / "new", KUMAR, SETTINGS, plans=tmp_path / "other.json").fit(pairs))
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(SegmentationError, match="no plans of nnU-Net"):
        next(NnUnet(tmp_path / "new", KUMAR, SETTINGS, plans=tmp_path / "none.json").fit(pairs))
    with pytest.raises(SegmentationError, match="exists"):
        plan_nnunet(pairs, plans, KUMAR, SETTINGS)
    assert not (tmp_path / "new").exists()


def test_a_session_leaves_everything_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment, python = dict(os.environ), random.getstate()
    legacy, own = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    drawn = []
    for number in (1, 1, 2):
        with nnunet_session(tmp_path, seed=(0, number), device=torch.device("cpu")):
            assert os.environ["nnUNet_raw"] == str(tmp_path / "raw")  # noqa: SIM112
            sys.stdout.write("told\n")
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: S311
    assert drawn[0] == drawn[1] != drawn[2]
    assert dict(os.environ) == environment
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)
    assert torch.equal(torch.random.get_rng_state(), own)
    assert capsys.readouterr().out == ""
    assert (tmp_path / "nnunet.log").read_text() == "told\n" * 3
    with nnunet_session(tmp_path / "unwritten", seed=(0,), device=torch.device("cpu"), keep_log=False):
        sys.stdout.write("told\n")
    assert not (tmp_path / "unwritten").exists()


def test_a_data_set_of_nnunets(pairs: list[LabelledImage], tmp_path: Path) -> None:
    folder = tmp_path / "Dataset007_squares"
    export_nnunet_dataset(pairs[:2], folder, KUMAR)
    described = json.loads((folder / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "nuclei": 1}
    assert list(described["channel_names"]) == ["0", "1", "2"]
    assert described["numTraining"] == 2
    image = np.asarray(PIL.Image.open(folder / "imagesTr" / "pair-00002_0000.png"))
    np.testing.assert_array_equal(image, pairs[1].image)
    labels = np.asarray(PIL.Image.open(folder / "labelsTr" / "pair-00002.png"))
    np.testing.assert_array_equal(labels, pairs[1].labels)
    assert (folder / "pairs.csv").read_text().splitlines()[1] == "pair-00001,squares 0"
    with pytest.raises(SegmentationError, match="exists"):
        export_nnunet_dataset(pairs, folder, KUMAR)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("names", [("nuclei", "ignore"), ("ignore", "nuclei"), ("background", "nuclei")])
def test_names_that_nnunet_keeps_for_itself_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    classes = ClassSet(tuple(MaskClass(name, (10 + number, 20, 30)) for number, name in enumerate(names)))
    folder = tmp_path / "sets" / "Dataset007_squares"
    reserved = next(name for name in names if name != "nuclei")
    with pytest.raises(MaskError, match=f"'{reserved}': nnU-Net keeps background and ignore for itself"):
        export_nnunet_dataset(squares(1, seed=0), folder, classes)
    assert not list(tmp_path.iterdir())
    other = ClassSet((MaskClass("Ignore", (1, 2, 3)),))  # nnU-Net looks at small letters only
    export_nnunet_dataset(squares(1, seed=0), folder, other)
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "Ignore": 1}


@needs_nnunet
def test_nnunet_is_not_begun_with_such_a_name(tmp_path: Path) -> None:
    classes = ClassSet((MaskClass("ignore", (1, 2, 3)),))
    with pytest.raises(MaskError, match="rename it"):
        next(NnUnet(tmp_path / "model", classes, SETTINGS).fit(squares(1, seed=0)))
    with pytest.raises(MaskError, match="rename it"):
        plan_nnunet(squares(1, seed=0), tmp_path / "plans.json", classes, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_a_users_beside_the_data_set_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / ".Dataset007_squares.tmp"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    export_nnunet_dataset(squares(1, seed=0), tmp_path / "Dataset007_squares", KUMAR)
    assert (mine / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, "Dataset007_squares"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "epochs of at least 1"),
        ({"patch_px": 8}, "patch_px of at least 16"),
        ({"elastic_share": 1.5}, "elastic_share in 0 to 1"),
        ({"learning_rate": 0.0}, "learning rates that fall"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(SegmentationError, match=message):
        replace(SETTINGS, **changed)
