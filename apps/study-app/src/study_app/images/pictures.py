"""A picture on its way into a study: in the form in which readers see it, with what is known of its origin."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study_app.stored_images.encoding import to_square
from wsi_tiling import TissueRule, tissue_mask

TISSUE = TissueRule(min_hue=0.5, min_saturation=0.04)
"""By colour alone: how large a speck of a picture is on the slide is not known."""


@dataclass(frozen=True, eq=False)
class NewPicture:
    """A picture that is to be stored.

    Attributes:
        name: Of the original, different for all pictures of one version.
        version: The model that drew it; None for a real one.
        pixels: As readers see them, (S, S, 3) uint8 RGB.
        sha256: Of these pixels.
        size_px: Width and height of the original.
        tissue_share: Share of tissue in what readers see.
        source: Of a crop, the image or slide that it is from.
        xy: Of a crop, its upper left corner in the source.
        field_um: Side of what a picture shows, micrometres, where it is known.
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
    """Brings pixels, (H, W, 3) uint8 RGB, to the form in which readers see them; see `NewPicture` for the rest.

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
