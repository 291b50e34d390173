"""Distance maps of nuclei: the depth of each pixel in its nucleus; and nuclei from a predicted map."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure, segmentation
from skimage.morphology import h_maxima

from maskcond.masks.arrays import Instances, Numbers
from maskcond.masks.instances import relabel

SMOOTHING_PX = 0.5
"""Standard deviation of the Gaussian that smooths a predicted map, px."""
LEAST_DIP = 0.1
"""Two nuclei are separate if the map between them falls at least by this below the lower of their two maxima."""


def distance_map(instances: Numbers) -> NDArray[np.float32]:
    """Returns the distance of each pixel from the edge of its nucleus, divided by the largest one of that nucleus.

    Args:
        instances: Instance map, (H, W). The edge of the image is no edge of a nucleus.

    Returns:
        (H, W) float32: 0 in the background, above 0 to 1 in nuclei.

    Raises:
        MaskError: The array is not an instance map.

    Source: Naylor et al. 2019, 'Segmentation of nuclei in histopathology images by deep regression of the distance
    map'; here each nucleus has the same maximum, so that small nuclei count as much as large ones.
    """
    numbers = relabel(instances)
    edges = segmentation.find_boundaries(numbers, connectivity=2, mode="inner")
    if not edges.any():
        return np.asarray(numbers > 0, np.float32)
    distances = ndimage.distance_transform_edt(~edges) + 1
    largest = np.ones(numbers.max() + 1)
    largest[1:] = ndimage.maximum(distances, numbers, np.arange(1, numbers.max() + 1))
    return np.where(numbers > 0, distances / largest[numbers], 0).astype(np.float32)


def instances_from_distances(foreground: NDArray[np.bool_], distances: NDArray[np.float32]) -> Instances:
    """Separates a foreground into nuclei by a watershed that starts from the maxima of a predicted distance map.

    Args:
        foreground: (H, W).
        distances: Predicted `distance_map`, (H, W).

    Returns:
        Instance map, (H, W), with the same foreground.
    """
    smooth = ndimage.gaussian_filter(distances, SMOOTHING_PX)
    centres = measure.label(h_maxima(smooth, LEAST_DIP) & foreground, connectivity=2)
    grown = segmentation.watershed(-smooth, centres, mask=foreground, connectivity=2)
    rest = measure.label(foreground & (grown == 0), connectivity=2)
    return np.asarray(np.where(rest > 0, rest + grown.max(initial=0), grown), np.int32)
