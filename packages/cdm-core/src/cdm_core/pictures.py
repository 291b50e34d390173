"""Pictures of what a network makes, for people to look at."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cdm_core.config import StageConfig
from cdm_core.examples import small_image, stage_image
from cdm_core.stage import sample_stage


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Turns images in [0, 1], (B, 3, H, W), into arrays (B, H, W, 3) of uint8."""
    array: NDArray[np.uint8] = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return array


def save_sample_sheet(path: Path, unet: nn.Module, config: StageConfig, batch: dict[str, Tensor]) -> None:
    """Writes a picture with real images above and, under each, what the network makes of its conditions.

    Args:
        path: A PNG; its folder is made if missing.
        unet: The network, usually with the running mean of the weights.
        config: Its stage.
        batch: Examples, see `cdm_core.training.Examples`, stacked.
    """
    generators = [torch.Generator().manual_seed(i) for i in range(len(batch["image"]))]
    made = sample_stage(
        unet, config, generators=generators, lowres=small_image(config, batch), cond_images=batch.get("cond_images")
    )
    rows = [np.concatenate(list(to_uint8(images)), axis=1) for images in (stage_image(config, batch), made)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path)
