"""Quality measures of pictures of a generated slide; `urcdm.results.level_quality` has those of a whole canvas."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wsi_tiling import read_region

TISSUE_BELOW = 200


def sharpness(image: NDArray[np.uint8]) -> float:
    """Returns the mean absolute difference of horizontal neighbours inside tissue, in grey values.

    Compare it with the sharpness of real slides at the same magnification. Tissue has a grey value, the mean of the
    three colours, under 200 of 255.

    Args:
        image: Picture, (H, W, 3) uint8, at full magnification.

    Raises:
        ValueError: There is no tissue in the picture.
    """
    steps = StepSum()
    steps.add(image)
    if steps.sharpness is None:
        raise ValueError("no tissue in the picture: every grey value is 200 or more")
    return steps.sharpness


def seam(image: NDArray[np.uint8], borders_px: Iterable[int]) -> float:
    """Returns the mean step of grey values across the borders of patches, divided by that elsewhere in tissue.

    1 is perfect; more is a visible seam, less is blur. For rows, rotate the picture by 90 degrees.

    Args:
        image: Picture, (H, W, 3) uint8.
        borders_px: Columns in (0, W) at which patches or their overlaps begin or end.

    Raises:
        ValueError: There is no tissue at the borders, or none elsewhere.
    """
    steps = StepSum()
    steps.add(image, borders_px)
    if steps.seam is None:
        raise ValueError("no tissue at the borders, or none elsewhere")
    return steps.seam


def coherence(picture: NDArray[np.uint8], parent: NDArray[np.uint8]) -> float:
    """Returns the share of the parent's contrast inside tissue that a picture explains at the parent's scale.

    It is 1 - sum (picture - parent)^2 / sum (parent - its mean colour)^2 at the parent's scale, over all three colours:
    it falls if structures move or colours drift. 1 is perfect; two magnifications of a real slide have 0.9997 or more,
    because of rounding. 0 is as good as the parent's mean colour everywhere. Unrelated tissue of the same colours has
    -1 or less. Pixels count as tissue if either picture has a grey value under 200.

    Args:
        picture: A level's picture, (H, W, 3) uint8.
        parent: The same field in the level above, (h, w, 3) uint8, with h <= H and w <= W. The picture is reduced to
            this size, antialiased.

    Raises:
        ValueError: There is no tissue, or the parent is of one colour there.
    """
    sums = CoherenceSum()
    height, width = picture.shape[:2]
    sums.add(read_region(picture, (0, 0, width, height), parent.shape[1::-1], (0, 0, 0)), parent)
    if sums.coherence is None:
        raise ValueError("no tissue, or a parent of one colour: there is no contrast to agree with")
    return sums.coherence


class StepSum:
    """Steps of grey values between horizontal neighbours inside tissue, summed over any number of pictures."""

    def __init__(self) -> None:
        self._sum = np.zeros(2)
        self._count = np.zeros(2)

    def add(self, image: NDArray[np.uint8], borders_px: Iterable[int] = (), left_out_px: Iterable[int] = ()) -> None:
        """Adds a picture.

        Args:
            image: Picture, (H, W, 3) uint8.
            borders_px: Columns whose step from the column before crosses a border; columns outside (0, W) are ignored.
            left_out_px: Columns whose step is ignored.
        """
        grey = image.astype(np.float32).mean(axis=2)
        tissue = grey[:, 1:] < TISSUE_BELOW
        steps = np.abs(np.diff(grey, axis=1))
        kind = np.zeros(steps.shape[1], np.uint8)
        for number, columns in ((1, borders_px), (2, left_out_px)):
            kind[[column - 1 for column in columns if 0 < column < image.shape[1]]] = number
        for number in (0, 1):
            in_tissue = steps[:, kind == number][tissue[:, kind == number]]
            self._sum[number] += in_tissue.sum(dtype=np.float64)
            self._count[number] += in_tissue.size

    @property
    def sharpness(self) -> float | None:
        """See `sharpness`; None without tissue."""
        return float(self._sum.sum() / self._count.sum()) if self._count.any() else None

    @property
    def seam(self) -> float | None:
        """See `seam`; None without tissue at borders, or elsewhere."""
        if not (self._count.all() and self._sum[0]):
            return None
        elsewhere, across = self._sum / self._count
        return float(across / elsewhere)


class CoherenceSum:
    """Differences of pictures and their parents inside tissue, summed over any number of pictures."""

    def __init__(self) -> None:
        self._count = 0
        self._difference = 0.0
        self._sum, self._squares = np.zeros(3), np.zeros(3)

    def add(self, picture: NDArray[np.uint8], parent: NDArray[np.uint8]) -> None:
        """Adds a picture and its parent, both of the same field at the parent's scale, (h, w, 3) uint8."""
        tissue = np.minimum(picture.mean(axis=2), parent.mean(axis=2)) < TISSUE_BELOW
        values, wanted = picture[tissue].astype(np.float64), parent[tissue].astype(np.float64)
        self._count += len(wanted)
        self._difference += float(((values - wanted) ** 2).sum())
        self._sum += wanted.sum(axis=0)
        self._squares += (wanted**2).sum(axis=0)

    @property
    def coherence(self) -> float | None:
        """See `coherence`; None without contrast."""
        if not self._count:
            return None
        contrast = float((self._squares - self._sum**2 / self._count).sum())
        return 1 - self._difference / contrast if contrast > 0 else None
