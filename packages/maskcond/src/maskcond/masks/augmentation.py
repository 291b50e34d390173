"""Random augmentation of an image together with its mask."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskcond.errors import MaskError
from maskcond.masks.arrays import Image, check_image, check_numbers
from maskcond.masks.colours import shift_colour


@dataclass(frozen=True)
class Augmentation:
    """Settings of `augment`, applied in this order; by default, flips and rotations by right angles only.

    Args:
        crop_px: Side of a random square crop, px; None keeps the whole image.
        rotation_degrees: Largest angle of a rotation, in either direction.
        scale: Largest relative change of scale; 0.25 enlarges by up to 1.25 and reduces by as much.
        elastic_px: Standard deviation of the displacement of points along x and along y, px; 0 for no deformation.
        elastic_scale_px: Standard deviation of the Gaussian that smooths the displacements, px.
        dihedral: Whether to flip and rotate by right angles, all eight ways with equal probability; a whole image that
            is not square may swap width and height.
        colour: Largest relative change of each colour's absorbance, which is proportional to the amount of stain. White
            glass stays white. The mask does not change.

    Raises:
        MaskError: A size, an angle or a share is out of range.
    """

    crop_px: int | None = None
    rotation_degrees: float = 0.0
    elastic_px: float = 0.0
    elastic_scale_px: float = 16.0
    dihedral: bool = True
    colour: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_px is not None and self.crop_px < 1:
            raise MaskError(f"wanted a crop of at least 1 px, got {self.crop_px}")
        if not (0 <= self.rotation_degrees <= 180 and 0 <= self.elastic_px < math.inf and 0 <= self.colour < 1):
            raise MaskError(
                "wanted a rotation in 0 to 180 degrees, elastic_px of at least 0 and colour in 0 to 1, got "
                f"{self.rotation_degrees}, {self.elastic_px}, {self.colour}"
            )
        if not 0 <= self.scale <= 1:
            raise MaskError(f"wanted a scale in 0 to 1, got {self.scale}")
        if not 0 < self.elastic_scale_px < math.inf:
            raise MaskError(f"wanted a positive elastic_scale_px, got {self.elastic_scale_px}")


def augment(
    image: Image, mask: NDArray[np.integer], settings: Augmentation, generator: np.random.Generator
) -> tuple[Image, NDArray[np.integer]]:
    """Augments an image and its mask together.

    Numbers of a mask are never mixed: each pixel takes that of the nearest one. Where a rotated crop reaches over the
    edge of the image, image and mask go on mirrored; an object of an instance map can so come to lie in several places,
    as it can by cropping: see `maskcond.split_parts`.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: Labels or instances, (H, W).
        settings: What may happen.
        generator: What happens.

    Returns:
        The new image and mask, of the same kinds.

    Raises:
        MaskError: Image and mask are not what they should be, differ in size, or are smaller than the crop.
    """
    check_image(image)
    check_numbers(mask)
    if image.shape[:2] != mask.shape:
        raise MaskError(f"image and mask differ in size: {image.shape[:2]} and {mask.shape}")
    size = mask.shape if settings.crop_px is None else (settings.crop_px, settings.crop_px)
    room = np.subtract(mask.shape, size)
    if room.min() < 0:
        raise MaskError(f"wanted an image of at least {size[1]} x {size[0]} px, got {mask.shape[1]} x {mask.shape[0]}")
    corner = generator.integers(room, endpoint=True)
    if settings.rotation_degrees or settings.elastic_px or settings.scale:
        positions = _positions(corner, size, settings, generator)
        image, mask = _read_linear(image, positions), ndimage.map_coordinates(mask, positions, order=0, mode="reflect")
    else:
        window = tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))
        image, mask = image[window], mask[window]
    if settings.dihedral:
        turns, flip = divmod(int(generator.integers(8)), 2)
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
    image, _ = shift_colour(image, settings.colour, generator)
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _positions(
    corner: NDArray[np.int64], size: tuple[int, ...], settings: Augmentation, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Positions (row, column) in the image at which the pixels of the result are read: (2, height, width)."""
    centre = (np.array(size)[:, None, None] - 1) / 2
    offsets = np.indices(size) - centre
    angle = math.radians(generator.uniform(-settings.rotation_degrees, settings.rotation_degrees))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if settings.scale:
        turn /= (1 + settings.scale) ** generator.uniform(-1, 1)
    positions: NDArray[np.float64] = np.tensordot(turn, offsets, 1) + centre + corner[:, None, None]
    if settings.elastic_px:
        scale = settings.elastic_scale_px
        smooth = ndimage.gaussian_filter(generator.standard_normal((2, *size)), (0, scale, scale))
        # White noise smoothed by a Gaussian has a standard deviation of 1 / (2 scale sqrt(pi)).
        positions += smooth * (settings.elastic_px * 2 * scale * math.sqrt(math.pi))
    return positions


def _read_linear(image: Image, positions: NDArray[np.float64]) -> Image:
    channels = (
        ndimage.map_coordinates(image[..., channel], positions, np.float32, order=1, mode="reflect")
        for channel in range(3)
    )
    return np.asarray(np.rint(np.stack(list(channels), axis=-1)), np.uint8)
