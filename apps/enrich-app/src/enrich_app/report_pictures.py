"""The pictures of a report: real pairs, sampled ones, and predictions on test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL.Image

from maskcond import Image, read_image, read_numbers
from maskcond.annotations.annotated_images import TRAIN
from maskcond.enrichment import EnrichmentConfig
from maskcond.enrichment.pairs.filtering import Filtered
from maskcond.enrichment.pairs.outlined import outlined
from maskcond.enrichment.pairs.pictures import image_name
from maskcond.enrichment.pairs.synthetic_pairs import variant_name
from maskcond.enrichment.real_images import RealImages
from maskcond.enrichment.run_paths import PREDICTED_MASKS, SAMPLED_IMAGES, SAMPLED_MASKS, VARIANTS, evaluation_step
from maskcond.masks.arrays import Numbers
from run_folder import UsageError
from run_folder.cli.pages import jpeg_uri

T = TypeVar("T")

JPEG_QUALITY = 90
SHOWN = 6
TILE_PX = 176
MARGIN_PX = 6
TEST_PX = TILE_PX
"""Largest side of the shown parts of test images, px."""


def real_pairs_picture(real: RealImages, scale: float, side_px: int) -> str:
    """The middles of some training images, and below them the same with their masks outlined."""
    chosen = _spread(real.of(TRAIN), SHOWN)
    parts = [_middle(*image.read(scale), side_px) for image in chosen]
    return picture_source(_grid([[image for image, _ in parts], [outlined(*part) for part in parts]]))


def sampled_pairs_picture(folder: Path, config: EnrichmentConfig, kept: Sequence[int]) -> str:
    """Some pairs, one column each: sampled image, the same with outlines, mask, then the images of the mask."""
    columns = []
    for number in _spread(kept, SHOWN):
        image = read_image(folder / SAMPLED_IMAGES / "images" / f"{image_name(number)}.png")
        mask = read_numbers(folder / PREDICTED_MASKS / "masks" / f"{image_name(number)}.png")
        columns.append([image, outlined(image, mask), _painted(mask), *_variants(folder, config, number)])
    return picture_source(_grid([list(row) for row in zip(*columns, strict=True)]))


def drawn_masks_picture(folder: Path, config: EnrichmentConfig, drawn: Filtered | None) -> str | None:
    """Some sampled masks, one column each: the mask, then its images; None if there is none."""
    if drawn is None or not drawn.kept:
        return None
    columns = []
    for number in _spread([config.sampling.images + index for index in drawn.kept], SHOWN):
        mask = read_numbers(folder / SAMPLED_MASKS / "masks" / f"{image_name(number)}.png")
        columns.append([_painted(mask), *_variants(folder, config, number)])
    return picture_source(_grid([list(row) for row in zip(*columns, strict=True)]))


def predictions_picture(folder: Path, real: RealImages, scale: float, strategies: Sequence[str]) -> str:
    """For each test set, the middle of an image: plain, with the true mask, and with each strategy's predicted mask."""
    rows = []
    for split in real.splits:
        test_image = real.of(split)[0]
        image, truth = test_image.read(scale)
        side_px = min(*truth.shape, TEST_PX)
        part, true_part = _middle(image, truth, side_px)
        row = [part, outlined(part, true_part)]
        for strategy in strategies:
            path = folder / evaluation_step(strategy, 0) / "predictions" / f"{test_image.name}.png"
            row.append(outlined(part, _middle(image, read_numbers(path), side_px)[1], (60, 250, 120)))
        rows.append(row)
    return picture_source(_grid(rows))


def picture_source(pixels: Image) -> str:
    """A picture as a data URI for a page."""
    return jpeg_uri(PIL.Image.fromarray(pixels))


def file_source(path: Path) -> str | None:
    """A picture file as a data URI for a page; None if the file is missing.

    Raises:
        UsageError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        return picture_source(read_image(path))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _variants(folder: Path, config: EnrichmentConfig, number: int) -> list[Image]:
    names = [variant_name(number, variant) for variant in range(config.sampling.variants)]
    return [read_image(folder / VARIANTS / "images" / f"{name}.png") for name in names]


def _grid(rows: Sequence[Sequence[Image]]) -> Image:
    step = TILE_PX + MARGIN_PX
    size = len(rows[0]) * step - MARGIN_PX, len(rows) * step - MARGIN_PX
    picture = PIL.Image.new("RGB", size, "white")
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            # whole multiples stay sharp
            resample = PIL.Image.Resampling.NEAREST if TILE_PX % len(tile) == 0 else PIL.Image.Resampling.LANCZOS
            resized = PIL.Image.fromarray(tile).resize((TILE_PX, TILE_PX), resample)
            picture.paste(resized, (column * step, row * step))
    return np.asarray(picture)


def _middle(image: Image, mask: Numbers, side_px: int) -> tuple[Image, Numbers]:
    row, col = ((length - side_px) // 2 for length in mask.shape)
    return image[row : row + side_px, col : col + side_px], mask[row : row + side_px, col : col + side_px]


def _painted(mask: Numbers) -> Image:
    """A mask in colours, each number another."""
    palette = np.random.default_rng(0).integers(70, 256, (int(mask.max()) + 1, 3), np.uint8)
    palette[0] = 0
    return palette[mask]


def _spread(items: Sequence[T], count: int) -> list[T]:
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]
