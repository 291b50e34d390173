from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskcond import (
    KIDNEY,
    KUMAR,
    KUMAR_BORDER,
    AnnotatedImages,
    ImageRecord,
    ImageSetError,
    Instances,
    MaskCodec,
    MaskError,
    border_labels,
    labelled,
    labels_of_instances,
    picture_folder,
)

CODEC = MaskCodec(KIDNEY)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two images of 20 x 30 px, and labels of all classes."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, labels):
        folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("b", "a"):
        Image.fromarray(rng.integers(256, size=(20, 30, 3)).astype(np.uint8)).save(images / f"{name}.png")
        Image.fromarray(rng.integers(5, size=(20, 30)).astype(np.uint8)).save(labels / f"{name}.png")
    return images, labels


def test_a_folder_of_pairs(folders: tuple[Path, Path]) -> None:
    pairs = picture_folder(*folders, CODEC)
    assert [each.name for each in pairs] == ["a", "b"]
    for each in pairs:
        assert np.array_equal(each.image, np.asarray(Image.open(folders[0] / f"{each.name}.png")))
        assert each.labels is not None
        assert np.array_equal(each.labels, np.asarray(Image.open(folders[1] / f"{each.name}.png")))
        assert each.given == {}
    assert pairs[1] is pairs[1]  # kept
    assert [each.name for each in pairs[1:]] == ["b"]
    assert pairs[-1].name == "b"


def test_sets_are_put_together(folders: tuple[Path, Path]) -> None:
    both = picture_folder(*folders, CODEC) + picture_folder(folders[0])
    assert [(each.name, each.labels is None) for each in both] == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("b", True),
    ]


def test_annotated_images_have_labels_and_conditions(nuclei: Instances, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((*nuclei.shape, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(nuclei.astype(np.uint8)).save(tmp_path / "mask.png")
    record = ImageRecord("one", tmp_path / "image.png", tmp_path / "mask.png", "Colon", "Colon adenocarcinoma", "train")
    images = AnnotatedImages([record])
    (plain,), (bordered,) = labelled(images, KUMAR), labelled(images, KUMAR_BORDER)
    assert plain.given == {"tissue": "Colon", "disease": "Colon adenocarcinoma"}
    assert np.array_equal(plain.labels, nuclei > 0)
    assert np.array_equal(bordered.labels, border_labels(nuclei))
    with pytest.raises(MaskError, match="wanted one class for instances, got tubuli"):
        labels_of_instances(nuclei, KIDNEY)


def test_what_is_wrong_with_a_folder_is_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = folders
    with pytest.raises(ImageSetError, match="nothing: no such folder"):
        picture_folder(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageSetError, match="empty: no image in it"):
        picture_folder(tmp_path / "empty")
    with pytest.raises(ImageSetError, match="labels are read with their codec"):
        picture_folder(images, labels)

    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(labels / "a.png")
    with pytest.raises(ImageSetError, match=r"a\.png: unknown class numbers 9"):
        picture_folder(images, labels, CODEC)[0]
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(labels / "a.png")
    with pytest.raises(ImageSetError, match=r"a\.png: the mask is 20 x 20 px, its image 30 x 20 px"):
        picture_folder(images, labels, CODEC)[0]
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(labels / "a.png")
    with pytest.raises(ImageSetError, match="wanted label numbers, one channel, got RGB"):
        picture_folder(images, labels, CODEC)[0]
    (labels / "a.png").write_bytes((labels / "b.png").read_bytes()[:60])
    with pytest.raises(ImageSetError, match=r"a\.png is damaged or cut short"):
        picture_folder(images, labels, CODEC)[0]
    (labels / "a.png").unlink()
    with pytest.raises(ImageSetError, match=r"a: not in .*labels; every image has labels of the same name"):
        picture_folder(images, labels, CODEC)


def test_two_images_of_one_name_are_refused_and_folders_below_are_read(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    below = images / "patient"
    below.mkdir()
    (images / "a.png").rename(below / "a.png")
    (images / "list.csv").touch()
    pairs = picture_folder(images, labels, CODEC)
    assert [each.name for each in pairs] == ["b", "a"]
    assert (pairs + pairs[:1]).notes == (f"{images}: files with other endings left out: 1 (.csv)",) * 2
    Image.new("RGB", (30, 20)).save(images / "a.jpg")
    with pytest.raises(ImageSetError, match=r"two files are called a: .*a\.jpg and .*patient/a\.png;"):
        picture_folder(images)
