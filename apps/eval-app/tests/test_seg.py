import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from maskcond import MaskError, aji, dice
from maskcond.mask_folders import mean_by_split, read_splits

RunApp = Callable[..., Any]
SPLITS = {"a": "seen", "b": "seen", "c": "unseen"}


def nuclei(seed: int) -> NDArray[np.uint16]:
    """Squares with numbers of their own, (64, 64)."""
    mask = np.zeros((64, 64), np.uint16)
    for number, (y, x) in enumerate(np.random.default_rng(seed).integers(0, 54, (6, 2)), start=1):
        mask[y : y + 9, x : x + 9] = 300 * number
    return mask


def save(folder: Path, **masks: NDArray[Any]) -> Path:
    folder.mkdir()
    for name, mask in masks.items():
        PIL.Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """True masks of three images; one predicted rightly, one moved by 2 px, one not at all."""
    truth = {name: nuclei(seed) for seed, name in enumerate(SPLITS)}
    predicted = {"a": truth["a"], "b": np.roll(truth["b"], 2, axis=1), "c": np.zeros_like(truth["c"])}
    (tmp_path / "index.csv").write_text("image,split\n" + "".join(f"{i},{s}\n" for i, s in SPLITS.items()))
    return save(tmp_path / "truth", **truth), save(tmp_path / "predicted", **predicted)


def test_means_of_each_split_with_intervals(run_app: RunApp, sides: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "seg.json"
    done = run_app("seg", *sides, "--groups", tmp_path / "index.csv", "--out", out)
    assert done.code == 0, done.err
    document = json.loads(out.read_text())
    moved = {"truth": nuclei(1), "predicted": np.roll(nuclei(1), 2, axis=1)}
    assert {each["image"]: each["aji"] for each in document["images"]} == {"a": 1, "b": aji(**moved), "c": 0}
    means = {(each["group"], each["figure"]): each for each in document["means"]}
    assert means["seen", "dice"]["value"] == pytest.approx((1 + dice(**moved)) / 2)
    assert means["all", "aji"]["value"] == pytest.approx((1 + aji(**moved)) / 3)
    low, high = means["all", "aji"]["interval"]
    assert 0 <= low < means["all", "aji"]["value"] < high <= 1
    assert means["unseen", "pq"] == {"group": "unseen", "figure": "pq", "images": 1, "value": 0, "interval": None}
    assert "seen (2)" in done.out
    assert (again := run_app("seg", *sides, "--out", out)).code == 1
    assert "--overwrite" in again.err


def test_classes_are_measured_one_by_one(run_app: RunApp, tmp_path: Path) -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:10], truth[10:, :10] = 1, 4
    predicted = np.where(truth == 4, 1, truth).astype(np.uint8)
    folders = save(tmp_path / "truth", slide=truth), save(tmp_path / "predicted", slide=predicted)
    done = run_app("seg", *folders, "--semantic", "--out", tmp_path / "seg.json")
    assert done.code == 0, done.err
    [image] = json.loads((tmp_path / "seg.json").read_text())["images"]
    assert image["dice of 1"] == pytest.approx(2 * 200 / (200 + 300))
    assert image["dice of 4"] == 0
    assert image["mean dice"] == pytest.approx(image["dice of 1"] / 2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "predicted" / "b.png").unlink(), "in one of the folders only: b"),
        (lambda root: (root / "truth" / "a.png").write_text("no picture"), "a.png"),
        (lambda root: PIL.Image.new("RGB", (64, 64)).save(root / "predicted" / "c.png"), "c.png"),
        (lambda root: PIL.Image.new("L", (32, 64)).save(root / "predicted" / "c.png"), "c: "),
        (lambda root: (root / "index.csv").write_text("image,split\na,seen\n"), "2 of 3 images have no split, b among"),
        (
            lambda root: (root / "index.csv").write_text("image,split\na,seen\nb,\nc,x\n"),
            "1 of 3 images have no split, b",
        ),
        (
            lambda root: (root / "index.csv").write_text("image,split\na,x\nb,x\na,y\n"),
            "image a is given twice, in lines 2 and 4",
        ),
        (
            lambda root: (root / "index.csv").write_text("image,split\na,x\nb,All\nc,x\n"),
            "line 3: a split is called 'All'",
        ),
        (lambda root: (root / "index.csv").write_bytes(b"image,split\n\xfc,x\n"), "line 2 is not UTF-8"),
        (lambda root: (root / "truth" / "a.tif").touch(), "two files are called a: "),
        (lambda root: (root / "index.csv").write_text("name\na\n"), "the columns image and split"),
    ],
)
def test_masks_that_do_not_pair_or_cannot_be_read_are_told_in_one_line(
    run_app: RunApp, sides: tuple[Path, Path], tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(tmp_path)
    refused = run_app("seg", *sides, "--groups", tmp_path / "index.csv", "--out", tmp_path / "seg.json")
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1), refused.err
    assert words in refused.err
    assert not (tmp_path / "seg.json").exists()


def test_masks_without_a_class_are_told(run_app: RunApp, tmp_path: Path) -> None:
    empty = np.zeros((8, 8), np.uint8)
    folders = save(tmp_path / "truth", a=empty), save(tmp_path / "predicted", a=empty)
    refused = run_app("seg", *folders, "--semantic")
    assert (refused.code, "no class in the true masks" in refused.err) == (1, True)


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    "content",
    [
        f"image,split\n{NFC},seen\nb,unseen\n".encode("utf-8-sig"),
        f"image;split\r\n{NFD};seen\r\nb;unseen\r\n".encode(),
        b"\xff\xfe" + f"image\tsplit\n{NFC}\tseen\nb\tunseen\n".encode("utf-16-le"),
        f"sep=;\nimage;split;age\n b ; unseen ;1\n{NFC};seen;2\n\n".encode(),
    ],
)
def test_groups_come_from_tables_of_any_program(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "groups.csv").write_bytes(content)
    assert read_splits(tmp_path / "groups.csv", ["b", NFC]) == {"b": "unseen", NFC: "seen"}


def test_masks_and_tables_of_macos_pair_with_others(run_app: RunApp, tmp_path: Path) -> None:
    folders = save(tmp_path / "truth", **{NFD: nuclei(0)}), save(tmp_path / "predicted", **{NFC: nuclei(0)})
    (tmp_path / "groups.csv").write_text(f"image,split\n{NFC},seen\n", encoding="utf-8")
    done = run_app("seg", *folders, "--groups", tmp_path / "groups.csv", "--out", tmp_path / "seg.json")
    assert done.code == 0, done.err
    [image] = json.loads((tmp_path / "seg.json").read_text())["images"]
    assert (image["image"], image["group"], image["dice"]) == (NFC, "seen", 1)


def test_a_split_called_all_does_not_replace_the_mean_over_all() -> None:
    with pytest.raises(MaskError, match=r"a split is called 'all'; .*rename the split"):
        mean_by_split({"a": {"dice": 1.0}, "b": {"dice": 0.0}}, {"a": "all", "b": "seen"}, np.random.default_rng(0))


def test_a_mask_of_one_class_is_not_taken_for_one_nucleus(run_app: RunApp, tmp_path: Path) -> None:
    binary = (nuclei(0) > 0) * np.uint8(255)
    folders = save(tmp_path / "truth", a=nuclei(0)), save(tmp_path / "predicted", a=binary)
    refused = run_app("seg", *folders)
    assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1), refused.err
    assert "a.png: wanted a number for each object, got 255 for all" in refused.err
    assert "--semantic" in refused.err


def test_masks_in_linked_folders_are_measured_and_what_is_left_out_is_told(run_app: RunApp, tmp_path: Path) -> None:
    folders = save(tmp_path / "truth", a=nuclei(0)), save(tmp_path / "elsewhere", a=nuclei(0))
    (tmp_path / "predicted").mkdir()
    (tmp_path / "predicted" / "batch").symlink_to("../elsewhere")
    (tmp_path / "predicted" / "list.csv").touch()
    done = run_app("seg", folders[0], tmp_path / "predicted")
    assert done.code == 0, done.err
    assert "files with other endings left out: 1 (.csv)" in (done.out + done.err).replace("\n", " ")


def test_classes_that_no_true_mask_has_are_told(run_app: RunApp, tmp_path: Path) -> None:
    truth = np.array([[0, 1], [1, 2]], np.uint8)
    folders = save(tmp_path / "truth", a=truth), save(tmp_path / "predicted", a=np.array([[7, 1], [1, 2]], np.uint8))
    done = run_app("seg", *folders, "--semantic")
    assert done.code == 0, done.err
    assert "classes that no true mask has: 7" in done.out


def test_a_result_never_replaces_what_is_read(run_app: RunApp, sides: tuple[Path, Path], tmp_path: Path) -> None:
    groups = tmp_path / "index.json"
    (tmp_path / "index.csv").rename(groups)
    for out, problem in ((groups, "is an input of this command"), (sides[1] / "a.png", r"ends in .json")):
        content = out.read_bytes()
        refused = run_app("seg", *sides, "--groups", groups, "--out", out, "--overwrite")
        assert refused.code == 1
        assert problem in refused.err
        assert out.read_bytes() == content
