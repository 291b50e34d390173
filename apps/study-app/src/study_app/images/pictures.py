"""Preparation of a picture for a study: the form that readers see, and the picture's origin."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study_app.stored_images.encoding import to_square
from wsi_tiling import TissueRule, tissue_mask

TISSUE = TissueRule(min_hue=0.5, min_saturation=0.04)
"""Rule of tissue by colour alone, because the scale of a picture is unknown."""


@dataclass(frozen=True, eq=False)
class NewPicture:
    """A picture to store.

    Attributes:
        name: Name of the original, unique within a version.
        version: Version of the model that generated it; None for a real picture.
        pixels: Pixels that readers see, (S, S, 3) uint8 RGB.
        sha256: SHA-256 of these pixels, in hex.
        size_px: Width and height of the original, px.
        tissue_share: Share of tissue in these pixels.
        source: Name of the slide that a crop is from.
        xy: Upper left corner of a crop in its source, px.
        field_um: Side of the field that the picture shows, micrometres; None if unknown.
    """

    name: str
    version: str | None
    pixels: NDArray[np.uint8]
    sha256: str
    size_px: tuple[int, int]
    tissue_share: float
    source: str | None = None
    xy: tuple[float, float] | None = None
    field_um: float | None = None

    @property
    def is_real(self) -> bool:
        """Whether it is real."""
        return self.version is None


def prepare(
    pixels: NDArray[np.uint8],
    size_px: int,
    *,
    name: str,
    version: str | None,
    source: str | None = None,
    xy: tuple[float, float] | None = None,
    field_um: float | None = None,
) -> NewPicture:
    """Converts pixels, (H, W, 3) uint8 RGB, to the form that readers see; see `NewPicture` for the other arguments.

    Raises:
        UsageError: The picture is smaller than those of the study.
    """
    square = to_square(pixels, size_px)
    return NewPicture(
        name=name,
        version=version,
        pixels=square,
        sha256=hashlib.sha256(square.tobytes()).hexdigest(),
        size_px=(pixels.shape[1], pixels.shape[0]),
        tissue_share=float(tissue_mask(square, TISSUE).mean()),
        source=source,
        xy=xy,
        field_um=field_um,
    )
