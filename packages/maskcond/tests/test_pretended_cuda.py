"""Masks, images of masks and segmentation on a pretended GPU: no loop waits for the device."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cdm_core import Cascade
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda
from maskcond import (
    KUMAR,
    KUMAR_BORDER,
    KUMAR_CONDITIONS,
    Augmentation,
    MaskCascade,
    MaskDiffusion,
    sample_images,
    sample_masks,
)
from maskcond.annotations.labelled_images import LabelledImage
from maskcond.segmentation import SmallUnet, SmallUnetSettings
from maskcond.segmentation.small_unet.tiles import predict_tiled

pytestmark = pytest.mark.once

Make = Callable[..., Cascade]
LABELS = np.random.default_rng(0).integers(2, size=(3, 32, 32)).astype(np.uint8)
IMAGE = np.random.default_rng(1).integers(256, size=(40, 40, 3)).astype(np.uint8)


@pytest.fixture
def gpu() -> Iterator[GpuRecord]:
    with pretended_cuda() as record:
        yield record


def test_images_of_masks_wait_for_the_device_once_a_batch(gpu: GpuRecord, tiny_cascade: Make) -> None:
    channels = len(KUMAR.classes) + 1
    cascade = tiny_cascade(cond_images_channels=channels, text_embed_dim=KUMAR_CONDITIONS.width)
    model = MaskCascade(KUMAR, cascade, KUMAR_CONDITIONS).to("cuda")
    gpu.clear()
    given = [{"tissue": "Breast"}, {}, {}]
    images = list(sample_images(model, list(LABELS), given, steps=1, guidance=2.0, batch_size=2))
    assert [image.image.shape for image in images] == [(16, 16, 3)] * 3
    assert len(gpu.blocking("cpu")) == gpu.waits.total() == 2
    assert not gpu.races


def test_masks_wait_for_the_device_once_a_batch(gpu: GpuRecord, tiny_cascade: Make) -> None:
    model = MaskDiffusion(KUMAR, tiny_cascade()).to("cuda")
    gpu.clear()
    assert [mask.shape for mask in sample_masks(model, 3, steps=1, batch_size=2)] == [(16, 16)] * 3
    assert len(gpu.blocking("cpu")) == gpu.waits.total() == 2


def test_a_step_of_the_small_unet_waits_for_nothing(gpu: GpuRecord, tmp_path: Path) -> None:
    pytest.importorskip("dynamic_network_architectures", reason="the extra 'unet' is not installed")
    settings = SmallUnetSettings(
        features=(4, 8),
        steps=9,
        batch_size=2,
        augmentation=Augmentation(crop_px=16),
        class_weights=(1.0, 2.0, 2.0),
        distances=True,
    )
    model = SmallUnet(tmp_path, KUMAR_BORDER, settings, device="cuda", workers=0)
    steps = model.fit([LabelledImage("first", IMAGE[:32, :32], LABELS[0])])
    assert next(steps).done == 1
    gpu.clear()
    assert [event.done for event in islice(steps, 2)] == [2, 3]
    assert not gpu.waits
    assert {(copy.to, copy.pinned) for copy in gpu.copies} == {("cuda", True)}
    assert not gpu.seedings


@pytest.mark.parametrize("side", [16, 40])
def test_labelling_an_image_waits_once_however_many_tiles_it_has(gpu: GpuRecord, side: int) -> None:
    network, device = nn.Conv2d(3, 2, 1).to("cuda"), torch.device("cuda")
    gpu.clear()
    with torch.inference_mode():
        shares = predict_tiled(IMAGE[:side, :side], network, channels=2, tile_px=16, multiple=4, device=device)
    assert shares.shape == (2, side, side)
    assert len(gpu.convolutions) == (1 if side == 16 else 9)
    assert len(gpu.blocking("cpu")) == 1
    assert len(gpu.blocking("cuda")) <= 2
