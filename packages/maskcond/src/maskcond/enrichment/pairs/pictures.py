"""Pictures of a step, written under temporary names until they are complete, so that existing ones can be kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskcond.enrichment.errors import EnrichmentError
from run_folder import whole_file

T = TypeVar("T")


def write_png(path: Path, pixels: NDArray[np.generic]) -> None:
    """Writes (H, W, 3) uint8, (H, W) uint8 or (H, W) of numbers up to 65,535 as a PNG.

    Raises:
        EnrichmentError: A number is larger.
    """
    if pixels.dtype not in (np.uint8, np.bool_):
        if pixels.max(initial=0) > np.iinfo(np.uint16).max:
            raise EnrichmentError(f"{path}: more than 65,535 objects")
        pixels = pixels.astype(np.uint16)
    with whole_file(path) as partial:
        PIL.Image.fromarray(pixels).save(partial, format="png", compress_level=1)


def missing(folder: Path, names: Sequence[str]) -> list[int]:
    """Indices of the names without a PNG in a folder, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return [number for number, name in enumerate(names) if not (folder / f"{name}.png").exists()]


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Splits items into groups of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def image_name(number: int) -> str:
    """The name of a sampled image and of its mask."""
    return f"{number:06d}"
