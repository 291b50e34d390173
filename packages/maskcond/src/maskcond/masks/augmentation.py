"""Image and mask changed together, at random."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskcond.errors import MaskError
from maskcond.masks.arrays import Image, check_image, check_numbers


@dataclass(frozen=True)
class Augmentation:
    """What `augment` may do, in this order; nothing but flips and right angles if nothing is said.

    Args:
        crop_px: Side of a square cut out at a random place; None keeps the whole image.
        rotation_degrees: Largest angle of a rotation, either way.
        elastic_px: Standard deviation of the distance by which points move, along x and along y.
        elastic_scale_px: Standard deviation of the Gaussian that makes neighbours move alike.
        dihedral: Whether to flip and turn by right angles, all eight ways alike; a whole image that is not square may
            change its width for its height.
        colour: Largest share by which each colour's absorbance, which goes with the amount of stain, grows or shrinks.
            White glass stays white. The mask plays no part.

    Raises:
        MaskError: A size, an angle or a share is out of range.
    """

    crop_px: int | None = None
    rotation_degrees: float = 0.0
    elastic_px: float = 0.0
    elastic_scale_px: float = 16.0
    dihedral: bool = True
    colour: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_px is not None and self.crop_px < 1:
            raise MaskError(f"wanted a crop of at least 1 px, got {self.crop_px}")
        if not (0 <= self.rotation_degrees <= 180 and 0 <= self.elastic_px < math.inf and 0 <= self.colour < 1):
            raise MaskError(
                "wanted a rotation in 0 to 180 degrees, elastic_px of at least 0 and colour in 0 to 1, got "
                f"{self.rotation_degrees}, {self.elastic_px}, {self.colour}"
            )
        if not 0 < self.elastic_scale_px < math.inf:
            raise MaskError(f"wanted a positive elastic_scale_px, got {self.elastic_scale_px}")


def augment(
    image: Image, mask: NDArray[np.integer], settings: Augmentation, generator: np.random.Generator
) -> tuple[Image, NDArray[np.integer]]:
    """Changes an image and its mask alike.

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
    if settings.rotation_degrees or settings.elastic_px:
        places = _places(corner, size, settings, generator)
        image, mask = _read_linear(image, places), ndimage.map_coordinates(mask, places, order=0, mode="reflect")
    else:
        window = tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))
        image, mask = image[window], mask[window]
    if settings.dihedral:
        turns, flip = divmod(int(generator.integers(8)), 2)
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
    if settings.colour:
        image = _shift_colour(image, 1 + generator.uniform(-settings.colour, settings.colour, 3))
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _places(
    corner: NDArray[np.int64], size: tuple[int, ...], settings: Augmentation, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Where in the image, (row, column), each pixel of the result is read: (2, height, width)."""
    centre = (np.array(size)[:, None, None] - 1) / 2
    offsets = np.indices(size) - centre
    angle = math.radians(generator.uniform(-settings.rotation_degrees, settings.rotation_degrees))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places: NDArray[np.float64] = np.tensordot(turn, offsets, 1) + centre + corner[:, None, None]
    if settings.elastic_px:
        scale = settings.elastic_scale_px
        smooth = ndimage.gaussian_filter(generator.standard_normal((2, *size)), (0, scale, scale))
        # Smoothing white noise by a Gaussian leaves it a standard deviation of 1 / (2 scale sqrt(pi)).
        places += smooth * (settings.elastic_px * 2 * scale * math.sqrt(math.pi))
    return places


def _read_linear(image: Image, places: NDArray[np.float64]) -> Image:
    channels = (
        ndimage.map_coordinates(image[..., channel], places, np.float32, order=1, mode="reflect")
        for channel in range(3)
    )
    return np.asarray(np.rint(np.stack(list(channels), axis=-1)), np.uint8)


def _shift_colour(image: Image, factors: NDArray[np.float64]) -> Image:
    """Multiplies the absorbance of each colour, -log of the light let through, with a factor."""
    light = (np.arange(256)[:, None] + 1) / 256
    table = np.rint(256 * light**factors - 1).clip(0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)
