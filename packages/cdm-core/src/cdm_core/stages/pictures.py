"""Pictures of what a network makes, for people to look at."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cdm_core.checks import check_finite
from cdm_core.config import StageConfig
from cdm_core.diffusion.solver import DEFAULT_METHOD, SOLVERS
from cdm_core.stages.examples import small_image, stage_cond_images, stage_embedding, stage_image
from cdm_core.stages.inference import Precision, prepare_for_sampling
from cdm_core.stages.stage import sample_stage
from run_folder import whole_file

SHEET_IMAGES = 6
"""Examples on a sheet."""
SHEET_STEPS = 32
"""Steps of sampling for a sheet, at most."""


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Turns images in [0, 1], (B, 3, H, W), into arrays (B, H, W, 3) of uint8.

    Raises:
        ValueError: A value is not finite; as a pixel it could be any.
    """
    pixels = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    broken = torch.isfinite(images).logical_not().any().byte().reshape(1)
    array: NDArray[np.uint8] = torch.cat([pixels.flatten(), broken]).cpu().numpy()  # a GPU is waited for once
    if array[-1]:
        check_finite("images", images)
    return array[:-1].reshape(pixels.shape)


def save_sample_sheet(
    path: Path,
    unet: nn.Module,
    config: StageConfig,
    batch: dict[str, Tensor],
    *,
    at_once: int | None = None,
    precision: Precision = "fp32",
) -> None:
    """Writes a picture with real images above and, under each, what the network makes of its conditions.

    It is a picture to look at, and quick: at most `SHEET_STEPS` steps of a deterministic solver, in the precision of
    training. So it shows a little less than `sample_stage` makes with the stage's own steps. Samples that are not
    finite, as of a network whose training fails, are grey.

    Args:
        path: A PNG; its folder is made if missing.
        unet: The network, usually with the running mean of the weights.
        config: Its stage.
        batch: Examples, see `cdm_core.stages.examples.Examples`, stacked.
        at_once: Images sampled together; all of them if not given.
        precision: Of sampling; with 'bf16' a copy of the network is made for it.
    """
    config = sheet_stage(config)
    if precision != "fp32":
        unet = prepare_for_sampling(copy.deepcopy(unet), precision=precision)
    lowres, cond_images = small_image(config, batch), stage_cond_images(config, batch)
    embedding = stage_embedding(config, batch)
    made = torch.zeros(len(batch["image"]), 3, config.image_px, config.image_px)
    for rows in _alike(len(made), None if embedding is None else embedding[1], at_once or len(made)):
        made[rows] = sample_stage(
            unet,
            config,
            generators=[torch.Generator().manual_seed(row) for row in rows],
            lowres=None if lowres is None else lowres[rows],
            cond_images=None if cond_images is None else cond_images[rows],
            embedding=None if embedding is None or not embedding[1][rows[0]] else embedding[0][rows],
        ).to(made.device)
    made = torch.nan_to_num(made, nan=0.5)
    pairs = [np.concatenate(list(to_uint8(images)), axis=1) for images in (stage_image(config, batch), made)]
    with whole_file(path) as temporary:
        Image.fromarray(np.concatenate(pairs)).save(temporary, format="PNG")


def sheet_stage(config: StageConfig) -> StageConfig:
    """Returns a stage that is sampled as for a sheet: deterministically, in at most `SHEET_STEPS` steps."""
    sampling = config.sampling
    method = DEFAULT_METHOD if SOLVERS[sampling.method].eta else sampling.method
    steps = min(sampling.steps, SHEET_STEPS)
    return replace(config, sampling=replace(sampling, method=method, eta=0.0, steps=steps))


def _alike(count: int, given: Tensor | None, at_once: int) -> list[list[int]]:
    """Returns the numbers of a batch's rows in groups of at most `at_once`, those with an embedding apart."""
    flags = [True] * count if given is None else given.tolist()
    kinds = [[row for row in range(count) if flags[row] is kind] for kind in (True, False)]
    return [rows[i : i + at_once] for rows in kinds for i in range(0, len(rows), at_once)]
