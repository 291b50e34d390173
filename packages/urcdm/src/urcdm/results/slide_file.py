"""Writing of a finished canvas as a slide that viewers open."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from run_folder import whole_file
from urcdm.sampling.level_run import LevelRun
from wsi_tiling import PyramidWriter, derived_png, open_slide

TILE_PX = 256


@dataclass(frozen=True)
class WriteEvent:
    """Progress of the writing of a slide, in TIFF tiles."""

    done: int
    total: int


def write_slide(
    finest: LevelRun, path: Path, *, description: str = "", overwrite: bool = False
) -> Iterator[WriteEvent]:
    """Writes the image of a finished level as a tiled, pyramidal TIFF, tile by tile.

    Args:
        finest: The last level of a run.
        path: Path of the TIFF.
        description: Description of how the slide was made, stored in the file.
        overwrite: Whether to replace an existing file.

    Raises:
        SlideError: The file exists already, or cannot be written.
    """
    config, settings, picture = finest.model.config, finest.settings, finest.picture
    scale = finest.geometry.level.scale
    width, height = (round(side / scale) for side in settings.size_l0)
    corners = [(x, y) for y in range(0, height, TILE_PX) for x in range(0, width, TILE_PX)]
    with PyramidWriter(
        path, (width, height), mpp=config.mpp * scale, tile_px=TILE_PX, description=description, overwrite=overwrite
    ) as writer:
        for i, (x, y) in enumerate(corners):
            right, bottom = min(x + TILE_PX, width), min(y + TILE_PX, height)
            writer.write((x, y), picture.picture(x, y, right - x, bottom - y))
            yield WriteEvent(i + 1, len(corners))


def write_preview(slide: Path, path: Path, *, longest_px: int = 1024) -> None:
    """Writes a small PNG of a slide, marked as such, so that `wsi_tiling.find_slides` skips it."""
    with open_slide(slide) as opened:
        width, height = opened.size_l0
        shrink = max(width, height, longest_px) / longest_px
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        preview = opened.read((0, 0), (float(width), float(height)), size)
    png = derived_png(preview, f"Preview of {slide.name}, a synthetic slide")
    with whole_file(path) as partial:
        partial.write_bytes(png)
