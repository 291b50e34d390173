"""Small connected parts of a mask, however large the mask."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_tiling.region import MAX_BAND_PX

Mask = NDArray[np.bool_]


def without_small_parts(mask: Mask, least_px: float, *, diagonal: bool) -> Mask:
    """Takes the connected parts below an area out of a mask, but for those at its edge: they may go on outside.

    Parts are numbered in bands of bounded size and joined across them, so memory is a few bytes a pixel of one band.

    Args:
        mask: (H, W) bool.
        least_px: Smallest area that stays, pixels.
        diagonal: Whether pixels that touch at a corner are connected.

    Returns:
        (H, W) bool.
    """
    if least_px <= 1 or not mask.any():
        return mask
    keep = _large_parts(mask, least_px, diagonal)
    kept = np.zeros_like(mask)
    for top, labels, first in _labelled_bands(mask, diagonal):
        chosen = np.concatenate([[False], keep[first : first + int(labels.max())]])
        kept[top : top + len(labels)] = chosen[labels]
    return kept


def _labelled_bands(mask: Mask, diagonal: bool) -> Iterator[tuple[int, NDArray[np.int32], int]]:
    """Yields the first row of each band, its parts numbered from 1, and how many parts the bands before it had."""
    rows = max(1, MAX_BAND_PX // 4 // mask.shape[1])
    structure = np.ones((3, 3)) if diagonal else None
    before = 0
    for top in range(0, len(mask), rows):
        labels, count = ndimage.label(mask[top : top + rows], structure)
        yield top, labels, before
        before += count


def _large_parts(mask: Mask, least_px: float, diagonal: bool) -> Mask:
    """Returns for each part of each band, in their order, whether its component is large or touches the edge."""
    areas: list[NDArray[np.int64]] = []
    at_edge: list[NDArray[np.int64]] = []
    joints: list[NDArray[np.int64]] = [np.zeros((2, 0), np.int64)]
    last_row: NDArray[np.int64] | None = None
    height = len(mask)
    for top, labels, before in _labelled_bands(mask, diagonal):
        areas.append(np.bincount(labels.ravel()).astype(np.int64)[1:])
        edges = [labels[:, 0], labels[:, -1]]
        edges += [labels[0]] if top == 0 else []
        edges += [labels[-1]] if top + len(labels) == height else []
        edge = np.concatenate(edges)
        at_edge.append(np.unique(edge[edge > 0]).astype(np.int64) - 1 + before)
        if last_row is not None:
            joints.append(_joints(last_row, _numbered(labels[0], before), diagonal))
        last_row = _numbered(labels[-1], before)
    area = np.concatenate(areas)
    one, other = np.concatenate(joints, axis=1)
    graph = coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(len(area), len(area)))
    count, group = connected_components(graph, directed=False)
    large = np.bincount(group, weights=area, minlength=count) >= least_px
    large[group[np.concatenate(at_edge)]] = True
    return np.asarray(large[group])


def _numbered(labels: NDArray[np.int32], before: int) -> NDArray[np.int64]:
    """Numbers of the parts along a row, counted over all bands; -1 where there is none."""
    return np.where(labels > 0, labels.astype(np.int64) - 1 + before, -1)


def _joints(above: NDArray[np.int64], below: NDArray[np.int64], diagonal: bool) -> NDArray[np.int64]:
    """Pairs of parts that touch across two rows, (2, N)."""
    pairs = [np.stack([above, below])]
    if diagonal:
        pairs += [np.stack([above[1:], below[:-1]]), np.stack([above[:-1], below[1:]])]
    touching = np.concatenate(pairs, axis=1)
    return np.unique(touching[:, (touching >= 0).all(axis=0)], axis=1)
