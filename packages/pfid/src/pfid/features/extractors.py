"""Feature extractors, and the resizing before them."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfid.errors import ExtractorError


class Extractor(Protocol):
    """A network, or anything else, that gives features of images. Values of different extractors are never compared."""

    @property
    def name(self) -> str:
        """Name of the network, with a checksum of its weights if it has any."""

    @property
    def resize(self) -> str:
        """The resizing before the network, in words."""

    @property
    def dimensions(self) -> int:
        """Number of features of an image, D."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, D) float32, of RGB images of one size, (B, H, W, 3) uint8."""


@dataclass(frozen=True)
class CallableExtractor:
    """Makes an extractor of any function.

    Attributes:
        function: Takes RGB images (B, H, W, 3) uint8 and returns their features, (B, D).
        name: Its name in metric values, which should identify the weights too.
        dimensions: Number of features, D.
        resize: The resizing of the function, in words.
    """

    function: Callable[[NDArray[np.uint8]], NDArray[Any]]
    name: str
    dimensions: int
    resize: str = "none"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, D) float32, of RGB images of one size, (B, H, W, 3) uint8.

        Raises:
            ExtractorError: The function returned another shape.
        """
        features = np.asarray(self.function(images), np.float32)
        if features.shape != (len(images), self.dimensions):
            wanted = (len(images), self.dimensions)
            raise ExtractorError(f"{self.name}: returned features of shape {features.shape}, wanted {wanted}")
        return features


RESIZE = "bicubic, antialiased, in floating point, to {0} x {0} px"


def resize_clean(images: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    """Resizes images as clean-fid does: each channel as floating point by Pillow's bicubic filter, which antialiases.

    Images are shared out among the cores, so that an extractor on a GPU does not wait for one of them.

    Args:
        images: RGB images, (B, H, W, 3) uint8.
        size_px: Side to resize to.

    Returns:
        (B, size_px, size_px, 3) float32 in [0, 255], not rounded.

    Source: Parmar et al. 2022, 'On Aliased Resizing and Surprising Subtleties in GAN Evaluation'.
    """
    resized = np.empty((len(images), size_px, size_px, 3), np.float32)

    def resize(image: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        for channel in range(3):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            out[..., channel] = np.asarray(plane.resize((size_px, size_px), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(max(1, min(len(images), os.cpu_count() or 1))) as pool:  # Pillow lets go of the GIL
        for _ in pool.map(resize, images, resized):
            pass
    return resized.clip(0, 255, out=resized)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        ExtractorError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExtractorError(f"{path}: the weights cannot be read: {error.strerror}") from None
