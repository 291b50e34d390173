"""Maps of points: where nuclei are, without their outlines."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskcond.masks.arrays import Numbers
from maskcond.masks.instances import relabel

POINT_PX = 2.0
"""Standard deviation of the Gaussian at a point, px."""


def point_map(instances: Numbers, size_px: tuple[int, int]) -> NDArray[np.float32]:
    """Returns a map with a Gaussian at the centroid of each nucleus; where two overlap, the larger value counts.

    Args:
        instances: Instance map, (H, W).
        size_px: Size (height, width) of the map, px, to which the centroids are scaled; the Gaussians have a standard
            deviation of `POINT_PX` pixels of the map.

    Returns:
        (height, width) float32: 1 at the centroids, towards 0 far from them.

    Raises:
        MaskError: The array is not an instance map.
    """
    numbers = relabel(instances)
    points = np.zeros(size_px, np.float32)
    centroids = ndimage.center_of_mass(numbers > 0, numbers, np.arange(1, numbers.max(initial=0) + 1))
    for centroid in centroids:
        middle = (np.array(centroid) + 0.5) * size_px / numbers.shape - 0.5
        down, across = (
            np.exp(-((np.arange(length) - position) ** 2) / (2 * POINT_PX**2))
            for length, position in zip(size_px, middle, strict=True)
        )
        np.maximum(points, np.outer(down, across), out=points)
    return points
