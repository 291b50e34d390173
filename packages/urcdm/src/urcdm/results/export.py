"""From a finished canvas to a slide that viewers open."""

from collections.abc import Iterator
from pathlib import Path

from run_folder import whole_file
from urcdm.canvas.canvas import Canvas
from urcdm.model import Urcdm
from urcdm.sampling.generate import RunSettings, open_stage, slide_size_px
from wsi_tiling import PyramidWriter, derived_png, open_slide

TILE_PX = 256


def write_slide(
    model: Urcdm, canvas: Canvas, settings: RunSettings, path: Path, *, description: str = "", overwrite: bool = False
) -> Iterator[tuple[int, int]]:
    """Writes the picture of a finished canvas as a tiled, pyramidal TIFF, tile by tile.

    Args:
        model: The model that drew it.
        canvas: The canvas.
        settings: The slide.
        path: The TIFF.
        description: How the picture was made; kept in the file.
        overwrite: Whether a file at `path` is replaced.

    Yields:
        Tiles written and tiles in all.

    Raises:
        SlideError: There is a file at `path` already, or it cannot be written.
    """
    geometry = model.geometry(settings.size_l0)[-1]
    picture = open_stage(canvas, geometry, geometry.level.image_px)
    width, height = slide_size_px(model.config, settings.size_l0)
    corners = [(x, y) for y in range(0, height, TILE_PX) for x in range(0, width, TILE_PX)]
    mpp = model.config.mpp * geometry.level.scale
    with PyramidWriter(
        path, (width, height), mpp=mpp, tile_px=TILE_PX, description=description, overwrite=overwrite
    ) as writer:
        for i, (x, y) in enumerate(corners):
            right, bottom = min(x + TILE_PX, width), min(y + TILE_PX, height)
            writer.write((x, y), picture.picture(x, y, right - x, bottom - y))
            yield i + 1, len(corners)


def write_preview(slide: Path, path: Path, *, longest_px: int = 1024) -> None:
    """Writes a small PNG of a slide, marked as such: `wsi_tiling.find_slides` passes it over."""
    with open_slide(slide) as opened:
        width, height = opened.size_l0
        shrink = max(width, height, longest_px) / longest_px
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        preview = opened.read((0, 0), (float(width), float(height)), size)
    png = derived_png(preview, f"Preview of {slide.name}, a synthetic slide")
    with whole_file(path) as partial:
        partial.write_bytes(png)
