"""Noise that is a function of the position on the canvas, so that overlapping windows agree.

Each block of the canvas has its own position in the sequence of a counter-based generator.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 64


def noise_key(*numbers: int) -> int:
    """Returns the key of a noise field, from numbers such as seed, level, stage and purpose."""
    words = np.random.SeedSequence(numbers).generate_state(2, np.uint64)
    return int(words[0]) << 64 | int(words[1])


def place_noise(key: int, window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Cuts a window from the noise field of a key.

    Args:
        key: See `noise_key`.
        window: x, y, width and height, pixels; x and y from 0.

    Returns:
        Standard normal, (height, width, 3).

    Source: Salmon et al. 2011, 'Parallel random numbers: as easy as 1, 2, 3' (Philox).
    """
    x, y, width, height = window
    spans = ((x, width), (y, height))
    cols, rows = (range(start // BLOCK_PX, -(-(start + length) // BLOCK_PX)) for start, length in spans)
    noise = np.empty((len(rows) * BLOCK_PX, len(cols) * BLOCK_PX, 3), np.float32)
    for row in rows:
        for col in cols:
            block = np.random.Generator(np.random.Philox(key=key, counter=[0, col, row, 0]))
            top, left = (row - rows[0]) * BLOCK_PX, (col - cols[0]) * BLOCK_PX
            inside = noise[top : top + BLOCK_PX, left : left + BLOCK_PX]
            inside[:] = block.standard_normal(inside.shape, np.float32)
    top, left = y - rows[0] * BLOCK_PX, x - cols[0] * BLOCK_PX
    return noise[top : top + height, left : left + width]
