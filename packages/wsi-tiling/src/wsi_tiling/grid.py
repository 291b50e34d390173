"""Grids of overlapping square patches that cover a canvas exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from wsi_tiling.checks import check_number, check_size, check_whole, exact


@dataclass(frozen=True)
class Grid:
    """Square patches over a canvas, in whole pixels, each overlapping its neighbours.

    Patches lie a fixed stride apart. The last row and the last column are moved back to end exactly at the canvas edge,
    so the overlap before them can be larger than asked for, never smaller.

    Args:
        canvas_px: Width and height of the canvas.
        patch_px: Side of a patch.
        overlap: Share of a patch that overlaps the next one, in [0, 1).
        multiple: All origins are multiples of this. The stride is never below it, even if the overlap asks for less.

    Raises:
        ValueError: A patch does not fit the canvas, the overlap is outside [0, 1), or a size is not a `multiple`.
    """

    canvas_px: tuple[int, int]
    patch_px: int
    overlap: float
    multiple: int = 1

    def __post_init__(self) -> None:
        check_size(self.canvas_px)
        check_whole("a patch of at least 1 px", self.patch_px, least=1)
        check_whole("a multiple of at least 1 px", self.multiple, least=1)
        check_number("an overlap in [0, 1)", self.overlap, least=0, below=1)
        if min(self.canvas_px) < self.patch_px:
            raise ValueError(f"a patch of {self.patch_px} px does not fit a canvas of {self.canvas_px} px")
        if any(size % self.multiple for size in (*self.canvas_px, self.patch_px)):
            raise ValueError(
                f"wanted multiples of {self.multiple} px, got a canvas of {self.canvas_px} px "
                f"and a patch of {self.patch_px} px: pad the canvas"
            )

    @cached_property
    def stride_px(self) -> int:
        """Distance between neighbouring origins, but for the last row and column."""
        longest = self.patch_px * (1 - exact(self.overlap))
        return max(int(longest / self.multiple), 1) * self.multiple

    @cached_property
    def xs(self) -> tuple[int, ...]:
        """Left edge of each column."""
        return self._origins(self.canvas_px[0])

    @cached_property
    def ys(self) -> tuple[int, ...]:
        """Upper edge of each row."""
        return self._origins(self.canvas_px[1])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.ys)

    @property
    def cols(self) -> int:
        """Number of columns."""
        return len(self.xs)

    def origin(self, row: int, col: int) -> tuple[int, int]:
        """Upper left corner (x, y) of a patch.

        Raises:
            IndexError: There is no such patch.
        """
        if not (0 <= row < self.rows and 0 <= col < self.cols):
            raise IndexError(f"no patch ({row}, {col}) in a grid of {self.rows} rows and {self.cols} columns")
        return self.xs[col], self.ys[row]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """All (row, col), row by row."""
        return ((row, col) for row in range(self.rows) for col in range(self.cols))

    def __len__(self) -> int:
        return self.rows * self.cols

    def _origins(self, length: int) -> tuple[int, ...]:
        last = length - self.patch_px
        return (*range(0, last, self.stride_px), last)
