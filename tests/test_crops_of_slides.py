"""Slides of wsi-tiling under pfid: neither package knows the other."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pfid import CallableExtractor, Images, array_images, patch_fid, plan_crops, read_crops, region_images
from pfid.images.sources import Image
from wsi_tiling import PyramidWriter, open_slide

SIDE, PATCH_PX = 2048, 64


@pytest.fixture(scope="module")
def picture() -> Image:
    rng = np.random.default_rng(0)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def slide(picture: Image, tmp_path_factory: pytest.TempPathFactory) -> Images:
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    with PyramidWriter(path, (SIDE, SIDE), mpp=0.5, quality=None) as writer:
        writer.write((0, 0), picture)
    return region_images([path], open_slide)


def colours(patches: Image) -> Any:
    return patches.mean(axis=(1, 2))


def test_crops_of_a_slide_are_those_of_its_picture(slide: Images, picture: Image) -> None:
    in_memory = array_images([picture])
    plan = plan_crops(real=slide, fake=in_memory, count=60, patch_px=PATCH_PX)
    patches = np.zeros((2, 60, PATCH_PX, PATCH_PX, 3))
    for batch in read_crops(slide, plan, "real", batch_size=16, workers=1):
        patches[0, batch.numbers] = batch.patches
    for batch in read_crops(in_memory, plan, "fake", workers=0):
        patches[1, batch.numbers] = batch.patches
    # The slide is read by another filter, so that only details differ.
    assert np.abs(patches[0] - patches[1]).mean() < 1.5
    shifted = np.abs(patches[0, :, 2:] - patches[1, :, :-2]).mean()
    assert shifted > 4 * np.abs(patches[0] - patches[1]).mean()


def test_a_figure_tells_how_each_side_was_read(slide: Images, picture: Image) -> None:
    sides = {"real": slide, "fake": array_images([picture])}
    plan = plan_crops(**sides, count=20, patch_px=PATCH_PX)
    extractor = CallableExtractor(colours, "colours", 3)
    metric = patch_fid(**sides, plan=plan, extractor=extractor, workers=0, resamples=0).metric
    assert metric.resize == "crops by wsi_tiling.open_slide (real) and Lanczos (generated); patches none"
    assert "read by different filters" in (metric.note or "")


def test_a_slide_is_never_read_whole(tmp_path: Path) -> None:
    side = 12_000  # 412 MiB of pixels
    path = tmp_path / "large.tif"
    with PyramidWriter(path, (side, side), mpp=0.5) as writer:
        writer.write((5120, 5120), np.full((512, 512, 3), (170, 90, 160), np.uint8))
    images = region_images([path], open_slide)
    plan = plan_crops(real=images, fake=images, protocol="paired", count=40, patch_px=PATCH_PX)
    tracemalloc.start()
    try:
        for _ in read_crops(images, plan, "real", batch_size=8, workers=0):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**26
