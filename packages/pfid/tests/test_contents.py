"""Measurements belong to contents, not to names."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pfid import (
    CallableExtractor,
    CropFeatures,
    FeatureError,
    Images,
    array_images,
    folder_images,
    measure_crops,
    plan_crops,
    region_images,
)

EXTRACTOR = CallableExtractor(lambda patches: patches.mean((1, 2)), "mean colours", 3)


def folder_of(path: Path, seed: int) -> Path:
    path.mkdir()
    for number in range(3):
        pixels = np.random.default_rng((seed, number)).integers(0, 256, (24, 24, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path / f"{number}.png")
    return path


def measure(real: Images, fake: Images, folder: Path) -> CropFeatures:
    plan = plan_crops(real=real, fake=fake, count=8, patch_px=16)
    work = measure_crops(real=real, fake=fake, plan=plan, extractor=EXTRACTOR, folder=folder, workers=0)
    return work.result()


def test_contents_are_those_of_files_and_of_pixels(tmp_path: Path) -> None:
    one, other = folder_images(folder_of(tmp_path / "one", 0)), folder_images(folder_of(tmp_path / "other", 0))
    assert one.contents == other.contents
    assert len(set(one.contents)) == 3
    assert one.contents[0] != folder_images(folder_of(tmp_path / "anew", 1)).contents[0]
    black, white = (np.full((8, 8, 3), shade, np.uint8) for shade in (0, 255))
    assert array_images([black, white]).contents == (*array_images([black]).contents, *array_images([white]).contents)


def test_the_contents_of_a_mirax_slide_lie_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a.mrxs", "a/Data0000.dat"):
        (tmp_path / name).write_bytes(b"1")

    class Source:
        size = (8, 8)

    def contents() -> tuple[str, ...]:
        return region_images([tmp_path / "a.mrxs"], lambda _: Source()).contents  # type: ignore[arg-type, return-value]

    before = contents()
    assert contents() == before
    (tmp_path / "a" / "Data0000.dat").write_bytes(b"2")
    assert contents() != before


@pytest.mark.parametrize("side", ["real", "fake"])
def test_features_know_the_images_that_they_are_of(tmp_path: Path, side: str) -> None:
    folders = {name: folder_of(tmp_path / name, seed) for seed, name in enumerate(("real", "fake"))}

    def opened() -> dict[str, Images]:
        return {name: folder_images(folder) for name, folder in folders.items()}

    features = measure(**opened(), folder=tmp_path / "features")
    features.check_same(**opened(), extractor=EXTRACTOR)
    other = CallableExtractor(EXTRACTOR.function, "others", 3)
    with pytest.raises(FeatureError, match=r"another extractor \(mean colours\); measure these again"):
        features.check_same(**opened(), extractor=other)
    PIL.Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(folders[side] / "1.png")
    with pytest.raises(FeatureError, match=rf"other {side} images: 1\.png had other contents"):
        features.check_same(**opened(), extractor=EXTRACTOR)


def test_features_without_a_record_of_contents_are_not_gone_on_with(tmp_path: Path) -> None:
    real, fake = (folder_images(folder_of(tmp_path / name, seed)) for seed, name in enumerate(("real", "fake")))
    features = measure(real, fake, tmp_path / "features")
    record = tmp_path / "features" / "features.json"
    told = json.loads(record.read_text())
    del told["contents"]
    record.write_text(json.dumps(told))
    earlier = CropFeatures.load(tmp_path / "features")
    assert np.array_equal(earlier.real, features.real)
    with pytest.raises(FeatureError, match="images whose contents were not recorded"):
        earlier.check_same(real=real, fake=fake, extractor=EXTRACTOR)
