"""Instance maps, which number every object: conversion to labels with a border class, and back by watershed."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure, segmentation

from maskcond.errors import MaskError
from maskcond.masks.arrays import Instances, Labels, Numbers, check_numbers

NUCLEI, BORDER = 1, 2
"""The numbers of `maskcond.KUMAR_BORDER`."""


def relabel(instances: Numbers) -> Instances:
    """Numbers the objects from 1 up without gaps, in the same order.

    Raises:
        MaskError: The array is not an instance map.
    """
    check_numbers(instances, "instance map")
    numbers, ranks = np.unique(instances, return_inverse=True)
    first = int(numbers.size > 0 and numbers[0] != 0)
    return np.asarray(ranks.reshape(instances.shape) + first, np.int32)


def check_instances(instances: Numbers) -> None:
    """Checks that a mask numbers its objects: a mask of one number in several separate parts marks a class.

    Raises:
        MaskError: The mask marks a class.
    """
    check_numbers(instances, "instance map")
    numbers = np.unique(instances)
    numbers = numbers[numbers > 0]
    if numbers.size == 1 and (parts := int(connected_components(instances).max())) > 1:
        raise MaskError(
            f"wanted a number for each object, got {int(numbers[0])} for all, in {parts} parts: a mask of one class; "
            "number its objects, for example with maskcond.connected_components"
        )


def connected_components(mask: Numbers) -> Instances:
    """Makes an instance map of a mask: pixels connected by sides or corners are one object.

    Touching nuclei become one object; a model that separates them has to predict borders, see `border_labels`.

    Raises:
        MaskError: The array is not a mask (H, W) of whole numbers.
    """
    check_numbers(mask)
    return np.asarray(measure.label(mask > 0, connectivity=2), np.int32)


def split_parts(instances: Numbers) -> Instances:
    """Numbers each connected part separately, for objects that a crop or a warp has split.

    Raises:
        MaskError: The array is not an instance map.
    """
    check_numbers(instances, "instance map")
    return np.asarray(measure.label(instances.astype(np.int32), connectivity=2), np.int32)


def remove_fragments(instances: Numbers, min_area_px: int) -> Instances:
    """Removes parts of objects with fewer pixels than a limit; the remaining objects keep their numbers.

    Raises:
        MaskError: The array is not an instance map.
    """
    parts = split_parts(instances)
    small = np.bincount(parts.ravel()) < min_area_px
    return np.asarray(np.where(small[parts], 0, instances), np.int32)


def border_labels(instances: Numbers, border_px: int = 2) -> Labels:
    """Converts an instance map to labels, inside 1 and border 2, so that the insides of touching objects are separate.

    The border lies within the objects: inside and border together are exactly the foreground. Each object keeps an
    inside of one piece. If the border would split the inside, the largest piece stays; if it would cover the whole
    object, the deepest pixels stay, which touch those of another object only where both are a pixel or two thin.
    Objects cut by the edge of the image have no border there.

    Args:
        instances: Instance map, (H, W).
        border_px: Width of the border of each object, px.

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
    """Converts labels with a border class to an instance map: the inverse of `border_labels`, also for predictions.

    Every piece of inside, connected by sides, is an object and grows into the border next to it by a watershed of the
    distance to the insides. A border without an inside is an object too: a nucleus too small to have an inside. So the
    foreground does not change.

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
    """Marks the largest piece, connected by sides, of each object."""
    pieces = measure.label(numbers, connectivity=1)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    owners = np.zeros(areas.size, np.int64)
    owners[pieces] = numbers
    by_area = np.argsort(areas, kind="stable")
    largest = np.zeros(numbers.max() + 1, np.int64)
    # The last write of each owner stays, which is its largest piece.
    largest[owners[by_area]] = by_area
    return np.asarray((pieces > 0) & (largest[numbers] == pieces))
