"""The real images of an enrichment: none is lost or taken for another, whatever folders and names they have."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from maskcond import KUMAR, Image, MaskcondError
from maskcond.enrichment import EnrichmentError
from maskcond.enrichment.config import DataConfig, PairFolder
from maskcond.enrichment.real_images import RealImages, open_real_images


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    mask = np.zeros((24, 24), np.uint8)
    mask[2:9, 2:9] = 1
    for split, name, seed in (("train", "a", 0), ("test", "b", 1)):
        save(tmp_path / split / "images" / f"{name}.png", noise(seed))
        save(tmp_path / split / "masks" / f"{name}.png", mask)
    return tmp_path


def opened(
    root: Path, *unannotated: str, split: str = "test", annotated: int | None = None, seed: int = 0
) -> RealImages:
    folders = tuple(
        PairFolder(name, root / place / "images", root / place / "masks")
        for name, place in (("train", "train"), (split, "test"))
    )
    config = DataConfig(folders=folders, unannotated=tuple(root / name for name in unannotated), annotated=annotated)
    return open_real_images(config, KUMAR, seed=seed)


@pytest.mark.parametrize("folders", [("one",), ("one", "two"), ("two", "one"), ("two", "three", "one")])
def test_a_test_image_among_unannotated_images_of_one_name_is_refused(root: Path, folders: tuple[str, ...]) -> None:
    save(root / "one" / "0001.png", noise(1))
    save(root / "two" / "0001.png", noise(2))
    save(root / "three" / "0001.png", noise(3))
    with pytest.raises(EnrichmentError, match=r"b \(test\) has the same pixels as the training image 0001"):
        opened(root, *folders)


@pytest.mark.parametrize("changed", ["one", "two", "one/below"])
def test_the_digest_changes_with_every_unannotated_image(root: Path, changed: str) -> None:
    for seed, place in enumerate(("one", "two"), 2):
        save(root / place / "0001.png", noise(seed))
    before = opened(root, "one", "two")
    assert len(before.unannotated_digests) == 2
    assert opened(root, "one", "two").digest_unannotated() == before.digest_unannotated()
    if (place := root / changed).is_dir():
        save(place / "0001.png", noise(9))
        assert opened(root, "one", "two").digest_unannotated() != before.digest_unannotated()


def test_the_masks_of_few_training_images_are_used(root: Path) -> None:
    for number in range(2, 6):
        save(root / "train" / "images" / f"{number}.png", noise(number))
        save(root / "train" / "masks" / f"{number}.png", np.ones((24, 24), np.uint8))
    names = {image.name for image in opened(root).of("train")}
    assert len(names) == 5
    chosen = set()
    for seed in range(8):
        real = opened(root, annotated=2, seed=seed)
        annotated = {image.name for image in real.of("train")}
        assert len(annotated) == 2
        assert real.unannotated is not None
        assert {image.name for image in real.unannotated} == names - annotated
        assert all(image.labels is None for image in real.unannotated)
        assert len(real.of("test")) == len(opened(root).of("test"))
        chosen.add(frozenset(annotated))
    assert len(chosen) > 1
    assert opened(root, annotated=5).unannotated is None
    with pytest.raises(EnrichmentError, match=r"data\.annotated: wanted 6 training images with masks, got 5"):
        opened(root, annotated=6)


def test_two_files_of_one_name_are_refused(root: Path) -> None:
    save(root / "train" / "images" / "a.tif", noise(5))
    with pytest.raises(EnrichmentError, match=r"two files are called a: .*a\.png and .*a\.tif; rename"):
        opened(root)
    (root / "train" / "images" / "a.tif").unlink()
    (root / "train" / "masks" / "a.xml").touch()
    with pytest.raises(EnrichmentError, match=r"two files are called a"):
        opened(root)


def test_images_below_the_folder_are_read_and_others_are_counted(root: Path) -> None:
    for part in ("images", "masks"):
        (root / "train" / part / "below").mkdir()
        save(root / "train" / part / "below" / "c.png", noise(7) if part == "images" else np.ones((24, 24), np.uint8))
    (root / "train" / "images" / "notes.doc").touch()
    real = opened(root)
    assert [each.name for each in real.of("train")] == ["a", "c"]
    assert [note for note in real.notes if "notes.doc" in note or ".doc" in note]


def test_images_and_masks_pair_whatever_the_form_of_their_names(root: Path) -> None:
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    (root / "test" / "images" / "b.png").rename(root / "test" / "images" / f"{nfd}.png")
    (root / "test" / "masks" / "b.png").rename(root / "test" / "masks" / f"{nfc}.png")
    assert [each.name for each in opened(root).of("test")] == [nfc]


@pytest.mark.parametrize("split", ["all", "All", " "])
def test_a_split_is_not_called_all(root: Path, split: str) -> None:
    with pytest.raises(EnrichmentError, match="called 'all', which the table uses; rename it"):
        opened(root, split=split)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((24, 24), np.uint8), "the mask is empty"),
        (np.ones((20, 24), np.uint8), "the mask is 24 x 20 px, its image 24 x 24 px"),
        (np.tile(np.array([0, 0, 255], np.uint8), (24, 8)), "a mask of one class"),
        (np.tile(np.array([0, 0, 128], np.uint8), (24, 8)), "got 128 for all, in 8 parts: a mask of one class"),
        (np.ones((24, 24, 3), np.uint8), "wanted label numbers, one channel"),
    ],
)
def test_bad_masks_of_test_images_are_refused_before_anything_is_trained(
    root: Path, mask: np.ndarray, words: str
) -> None:
    save(root / "test" / "masks" / "b.png", mask)
    with pytest.raises(MaskcondError, match=words):
        opened(root)
