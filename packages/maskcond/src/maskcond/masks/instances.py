"""Instance maps: every object a number of its own; by way of labels with a border class, and back by watershed."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure, segmentation

from maskcond.errors import MaskError
from maskcond.masks.arrays import Instances, Labels, Numbers, check_numbers

NUCLEI, BORDER = 1, 2
"""The numbers of `maskcond.KUMAR_BORDER`."""
_CLASS_NUMBERS = (1, 255, 65535)
"""The numbers that masks of one class have for it."""


def relabel(instances: Numbers) -> Instances:
    """Numbers the objects from 1 up without gaps, in the order that they had.

    Raises:
        MaskError: The array is not an instance map.
    """
    check_numbers(instances, "instance map")
    numbers, places = np.unique(instances, return_inverse=True)
    first = int(numbers.size > 0 and numbers[0] != 0)
    return np.asarray(places.reshape(instances.shape) + first, np.int32)


def check_instances(instances: Numbers) -> None:
    """Makes sure that a mask numbers its objects: one of 0 and 255, or of 0 and 1, in several parts marks a class.

    Raises:
        MaskError: It does not.
    """
    check_numbers(instances, "instance map")
    numbers = np.unique(instances)
    numbers = numbers[numbers > 0]
    if numbers.size == 1 and int(numbers[0]) in _CLASS_NUMBERS:
        parts = int(connected_components(instances).max())
        if parts > 1:
            raise MaskError(
                f"wanted a number for each object, got {int(numbers[0])} for all, in {parts} parts: a mask of one "
                "class; number its objects, for example with maskcond.connected_components"
            )


def connected_components(mask: Numbers) -> Instances:
    """Makes an instance map of a mask: what hangs together, sides or corners touching, is one object.

    Touching nuclei become one: a model that is to tell them apart has to predict their borders, see `border_labels`.

    Raises:
        MaskError: The array is not a mask (H, W) of whole numbers.
    """
    check_numbers(mask)
    return np.asarray(measure.label(mask > 0, connectivity=2), np.int32)


def split_parts(instances: Numbers) -> Instances:
    """Gives each part of an object that lies in several, as after a crop or a warp, a number of its own.

    Raises:
        MaskError: The array is not an instance map.
    """
    check_numbers(instances, "instance map")
    return np.asarray(measure.label(instances.astype(np.int32), connectivity=2), np.int32)


def remove_fragments(instances: Numbers, min_area_px: int) -> Instances:
    """Removes parts of objects with fewer pixels than a limit; the objects that are left keep their numbers.

    Raises:
        MaskError: The array is not an instance map.
    """
    parts = split_parts(instances)
    small = np.bincount(parts.ravel()) < min_area_px
    return np.asarray(np.where(small[parts], 0, instances), np.int32)


def border_labels(instances: Numbers, border_px: int = 2) -> Labels:
    """Makes labels of an instance map: inside 1, border 2, so that the insides of touching objects lie apart.

    The border is taken from the objects, and nothing is added to them: inside and border together are exactly the
    foreground. Each object keeps an inside of one piece: where the border would split it, the largest piece, where it
    would take all, what lies deepest, which can touch another of the kind only where both are a pixel or two thin.
    Objects that the edge of the image cuts have no border there.

    Args:
        instances: Instance map, (H, W).
        border_px: Width of the border of each object.

    Raises:
        MaskError: The array is not an instance map, or the width is below 1.
    """
    if border_px < 1:
        raise MaskError(f"wanted a border of at least 1 px, got {border_px}")
    numbers = relabel(instances)
    edges = segmentation.find_boundaries(numbers, connectivity=2, mode="inner")
    if not edges.any():
        return np.asarray(numbers > 0, np.uint8)
    depth = ndimage.distance_transform_edt(~edges) + 1
    objects = np.arange(1, numbers.max() + 1)
    deepest = np.concatenate([[0], ndimage.maximum(depth, numbers, objects)])
    inside = (numbers > 0) & (depth > np.minimum(border_px, deepest - 0.5)[numbers])
    inside &= _largest_pieces(np.where(inside, numbers, 0))
    return np.where(numbers > 0, np.where(inside, NUCLEI, BORDER), 0).astype(np.uint8)


def instances_from_borders(labels: Numbers) -> Instances:
    """Makes an instance map of labels with a border class: the inverse of `border_labels`, also for predictions.

    Every piece of inside, sides touching, is an object and grows into the border next to it by a watershed of the
    distance to the insides. Border that no inside reaches is an object too: a nucleus too small to have an inside.
    So the foreground stays exactly as it is.

    Args:
        labels: (H, W), 0 background, 1 inside, 2 border.

    Raises:
        MaskError: The array is not (H, W), or it has other numbers.
    """
    check_numbers(labels, "label image")
    if labels.size and labels.max() > BORDER:
        raise MaskError(f"wanted labels 0 (background), 1 (inside) and 2 (border), got {labels.max()}")
    foreground = labels > 0
    insides = measure.label(labels == NUCLEI, connectivity=1)
    distance = ndimage.distance_transform_edt(insides == 0)
    grown = segmentation.watershed(distance, insides, mask=foreground, connectivity=2)
    rest = measure.label(foreground & (grown == 0), connectivity=2)
    return np.asarray(np.where(rest > 0, rest + grown.max(initial=0), grown), np.int32)


def _largest_pieces(numbers: Instances) -> NDArray[np.bool_]:
    """Marks the largest piece, sides touching, of each object."""
    pieces = measure.label(numbers, connectivity=1)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    owners = np.zeros(areas.size, np.int64)
    owners[pieces] = numbers
    by_area = np.argsort(areas, kind="stable")
    largest = np.zeros(numbers.max() + 1, np.int64)
    # Of the pieces of one owner the last one written stays: the largest.
    largest[owners[by_area]] = by_area
    return np.asarray((pieces > 0) & (largest[numbers] == pieces))
