import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pfid.crops.plan import CropPlan, Side
from pfid.crops.planning import plan_crops
from pfid.crops.reading import read_crops, reading_order
from pfid.errors import ImageError, PfidError, PlanError
from pfid.images.folders import folder_images
from pfid.images.sources import Image, Images, array_images, region_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(5):
        noise = rng.integers(0, 256, (90 + 10 * number, 120, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path) -> CropPlan:
    images = folder_images(folder)
    return plan_crops(real=images, fake=images, protocol="paired", count=53, patch_px=32)


def gathered(images: Images, plan: CropPlan, side: Side, **settings: Any) -> Image:
    """All patches in the order of the plan; each has to come once."""
    patches = np.zeros((len(plan), plan.patch_px, plan.patch_px, 3), np.uint8)
    times = np.zeros(len(plan), int)
    for batch in read_crops(images, plan, side, **settings):
        patches[batch.numbers] = batch.patches
        times[batch.numbers] += 1
    assert (times == 1).all()
    return patches


def test_every_crop_comes_once_and_is_the_region_planned(folder: Path, plan: CropPlan) -> None:
    images = folder_images(folder)
    patches = gathered(images, plan, "fake", batch_size=8, workers=0)
    for number in range(len(plan)):
        crop = plan.crop("fake", number)
        source = images.source(images.names.index(crop.image))
        np.testing.assert_array_equal(patches[number], source.read(crop.xy, crop.field, crop.size_px))


def test_workers_batches_and_the_order_of_images_change_nothing(folder: Path, plan: CropPlan) -> None:
    images = folder_images(folder)
    alone = gathered(images, plan, "real", batch_size=50, workers=0)
    turned = Images(images.names[::-1], images.sizes[::-1], images.places[::-1], images.open)
    np.testing.assert_array_equal(gathered(images, plan, "real", batch_size=7, workers=2), alone)
    np.testing.assert_array_equal(gathered(turned, plan, "real", batch_size=7, workers=0), alone)


def test_crops_of_arrays_are_those_of_files(folder: Path, plan: CropPlan) -> None:
    images = folder_images(folder)
    arrays = array_images({name: images.pixels(number) for number, name in enumerate(images.names)})
    np.testing.assert_array_equal(
        gathered(arrays, plan, "real", workers=0), gathered(images, plan, "real", batch_size=10, workers=0)
    )


def test_crops_are_read_image_by_image_and_from_top_to_bottom() -> None:
    images = region_images(["a", "b"], Glass)
    plan = plan_crops(real=images, fake=images, count=3000, patch_px=64)
    order = reading_order(plan, "real")
    assert sorted(order) == list(range(3000))
    image, (corners, fields) = plan.real.image[order], plan.regions("real")
    assert (np.diff(image) >= 0).all()
    octave = np.log2(fields[order] / 64).astype(int)
    for which in (0, 1):
        rows = corners[order, 1][(image == which) & (octave == 0)]
        assert (np.diff(rows) > -4 * 64).all()


class Glass:
    """A slide that counts how often it is opened and closed."""

    opened = closed = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        Glass.opened += 1

    @property
    def size(self) -> tuple[int, int]:
        return 20_000, 30_000

    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        return np.full((size_px, size_px, 3), 242, np.uint8)

    def close(self) -> None:
        Glass.closed += 1


def test_each_slide_is_opened_once_and_closed() -> None:
    images = region_images(["a", "b", "c"], Glass)
    plan = plan_crops(real=images, fake=images, count=90, patch_px=16)
    Glass.opened = Glass.closed = 0
    for _ in read_crops(images, plan, "real", batch_size=4, workers=0):
        assert Glass.opened - Glass.closed == 1
    assert Glass.opened == Glass.closed == 3


class Damaged(Glass):
    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        raise OSError("tile 7 is damaged")


def test_a_worker_that_dies_is_an_error_and_no_hang() -> None:
    # Opening the image ends the process.
    images = Images(("a",), ((64, 64),), (3,), os._exit)  # type: ignore[arg-type]
    plan = plan_crops(real=images, fake=images, count=30, patch_px=16)
    with pytest.raises(PfidError, match="ended unexpectedly"):
        next(read_crops(images, plan, "real", batch_size=4, workers=1))


def test_an_image_that_cannot_be_read_is_named() -> None:
    images = region_images(["slide.svs"], Damaged)
    plan = plan_crops(real=images, fake=images, count=3, patch_px=16)
    with pytest.raises(ImageError, match=r"a crop of slide\.svs cannot be read: tile 7 is damaged"):
        next(read_crops(images, plan, "real", workers=0))


def test_an_image_that_a_worker_cannot_read_is_named(tmp_path: Path, folder: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes((folder / "0.png").read_bytes()[:9000])
    images = folder_images(tmp_path)
    plan = plan_crops(real=images, fake=images, count=3, patch_px=16)
    with pytest.raises(ImageError, match=r"a crop of cut\.png cannot be read: .*cut short"):
        next(read_crops(images, plan, "real", workers=1))


def test_a_reader_that_is_left_early_leaves_no_process(folder: Path, plan: CropPlan) -> None:
    batches = read_crops(folder_images(folder), plan, "real", batch_size=4, workers=1)
    assert len(next(batches).numbers) == 4
    batches.close()  # type: ignore[attr-defined]


KILLED = """
import os, signal
import numpy as np
from pfid import array_images, plan_crops, read_crops

if __name__ == "__main__":
    images = array_images([np.zeros((64, 64, 3), np.uint8)])
    plan = plan_crops(real=images, fake=images, count=100, patch_px=32)
    next(read_crops(images, plan, "real", batch_size=4, workers=1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # The pipe is open as long as a worker lives.
    ended = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_other_images_are_refused(plan: CropPlan) -> None:
    with pytest.raises(PlanError, match="not those of the plan"):
        next(read_crops(array_images([np.zeros((64, 64, 3), np.uint8)]), plan, "real", workers=0))
    with pytest.raises(PfidError, match="batch_size is 0, wanted a whole number of 1 or more"):
        next(read_crops(array_images([np.zeros((64, 64, 3), np.uint8)]), plan, "real", batch_size=0))
