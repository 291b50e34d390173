"""Outlines of objects: drawn into instance maps and label images, and traced from instance maps.

Points are (x, y) in pixels of the image, from its upper left corner: the first pixel spans 0 to 1, its centre is
(0.5, 0.5). A pixel belongs to an object if its centre lies inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure

from maskcond.errors import AnnotationError, MaskError
from maskcond.masks.arrays import Instances, Labels, Numbers, check_numbers
from maskcond.masks.classes import ClassSet

Ring: TypeAlias = NDArray[np.float64]
"""(N, 2) points (x, y), px; the last is connected to the first, which is not repeated."""
MAX_COORDINATE_PX = 1e7
"""Largest accepted coordinate; larger ones are a mistake or an attack."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """One piece of an object: its outer ring, and the rings of its holes."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, eq=False)
class Outline:
    """One annotated object, of one or several pieces.

    Args:
        polygons: Pieces of the object.
        class_name: The annotator's name of its class; empty if there is none.
    """

    polygons: tuple[Polygon, ...]
    class_name: str = ""


def as_ring(points: Sequence[Sequence[float]]) -> Ring:
    """Makes a ring from points (x, y); a last point that repeats the first is dropped.

    Raises:
        AnnotationError: A point is not a pair of finite numbers, or exceeds `MAX_COORDINATE_PX`.
    """
    try:
        ring = np.asarray(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        ring = np.empty(())
    if ring.shape == (0,):
        return np.empty((0, 2))
    # points of GeoJSON may have a height
    if ring.ndim != 2 or ring.shape[1] < 2:
        raise AnnotationError("wanted points (x, y), got something else")
    ring = ring[:, :2]
    if not (np.abs(ring) <= MAX_COORDINATE_PX).all():
        raise AnnotationError(f"wanted coordinates within {MAX_COORDINATE_PX:.0e} px, got some beyond or not finite")
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def draw_instances(outlines: Sequence[Outline], size_px: tuple[int, int]) -> Instances:
    """Draws outlines into an instance map: the n-th has the number n, and later ones cover earlier ones.

    The number of an outline that encloses no pixel's centre, such as one of two points, stays unused.

    Args:
        outlines: The outlines; they may extend over the edge of the image.
        size_px: Size of the image (height, width), px.

    Raises:
        AnnotationError: An outline lies outside the image altogether: it belongs to another image or another scale.
    """
    instances = np.zeros(size_px, np.int32)
    for number, outline in enumerate(outlines, 1):
        _draw(instances, outline, number, number)
    return instances


def draw_labels(outlines: Sequence[Outline], size_px: tuple[int, int], classes: ClassSet) -> Labels:
    """Draws outlines into a label image by their class names; later ones cover earlier ones.

    Raises:
        AnnotationError: An outline lies outside the image altogether, or its class is unknown.
    """
    labels = np.zeros(size_px, np.uint8)
    for number, outline in enumerate(outlines, 1):
        try:
            value = classes.number(outline.class_name)
        except MaskError as error:
            raise AnnotationError(f"outline {number}: {error}") from None
        _draw(labels, outline, value, number)
    return labels


def trace_outlines(instances: Numbers, class_names: str | Mapping[int, str] = "") -> list[Outline]:
    """Traces every object of an instance map, with its holes and pieces, in the order of the numbers.

    The outline runs half way between the centres of pixels inside and outside, so that drawing it gives the same
    pixels. Pieces that touch only at a corner are separate pieces.

    Args:
        instances: Instance map, (H, W).
        class_names: Class of all objects, or of each object by its number.

    Raises:
        MaskError: The array is not an instance map.
    """
    check_numbers(instances, "instance map")
    numbers, ranks = np.unique(instances, return_inverse=True)
    boxes = ndimage.find_objects(ranks.reshape(instances.shape) + 1)
    outlines = []
    for number, box in zip(numbers.tolist(), boxes, strict=True):
        if number:
            pieces, count = ndimage.label(instances[box] == number)
            corner = np.array([box[1].start, box[0].start])
            polygons = tuple(_trace(pieces == piece, corner) for piece in range(1, count + 1))
            name = class_names if isinstance(class_names, str) else class_names.get(number, "")
            outlines.append(Outline(polygons, name))
    return outlines


def _draw(canvas: Numbers, outline: Outline, value: int, number: int) -> None:
    height, width = canvas.shape
    rings = [polygon.outer for polygon in outline.polygons if len(polygon.outer)]
    if not rings:
        return
    (left, top), (right, bottom) = (limit(np.concatenate(rings), axis=0) for limit in (np.min, np.max))
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise AnnotationError(
            f"outline {number} lies outside the image of {width} x {height} px: it spans "
            f"x {left:g} to {right:g}, y {top:g} to {bottom:g}"
        )
    rows = slice(max(int(top) - 1, 0), min(int(bottom) + 2, height))
    cols = slice(max(int(left) - 1, 0), min(int(right) + 2, width))
    window = canvas[rows, cols]
    covered = np.zeros(window.shape, np.bool_)
    for polygon in outline.polygons:
        piece = _filled(polygon.outer, (cols.start, rows.start), window.shape)
        for hole in polygon.holes:
            piece &= ~_filled(hole, (cols.start, rows.start), window.shape)
        covered |= piece
    window[covered] = value


def _filled(ring: Ring, corner: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, np.bool_)
    if len(ring) >= 3:
        x, y = (ring - corner - 0.5).T
        inside[draw.polygon(y, x, shape)] = True
    return inside


def _trace(piece: NDArray[np.bool_], corner: NDArray[np.int64]) -> Polygon:
    # A margin of background closes contours at the edge; (row, column) of centres are converted to (x, y) of the image.
    contours = measure.find_contours(np.pad(piece, 1).astype(np.float32), 0.5)
    rings = sorted((contour[:-1, ::-1] - 0.5 + corner for contour in contours), key=_area)
    return Polygon(rings[-1], tuple(rings[:-1]))


def _area(ring: Ring) -> float:
    x, y = (ring - ring[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
