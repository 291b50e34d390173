"""`eval-app export`: pictures or tiles of slides as the zip file that StyleGAN3 trains on."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from eval_app.measuring.sides import holds_slides
from eval_app.outputs import check_ending, own_files
from pfid import Images, folder_images
from run_folder import UsageError, whole_file
from run_folder.cli.console import progress_bars, say
from wsi_tiling import RECOMMENDED, TileTable, find_tiles, open_slide, slide_files

_COMPRESSION = 1
"""Of the PNGs: higher levels take much longer and save little."""


@dataclass(frozen=True)
class _Pictures:
    """Square pictures to export.

    Attributes:
        count: How many they are.
        pixels: The pictures, each (size, size, 3) uint8.
    """

    count: int
    pixels: Iterator[NDArray[np.uint8]]


def run_export(
    *,
    places: list[Path],
    size_px: int,
    field_l0: float | None,
    min_tissue: float,
    out: Path,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Writes the zip file; see `eval_app.cli.results.export` for the arguments.

    Raises:
        UsageError: The file is in the way, the size does not fit, or there is nothing to export.
        ImageError: Pictures are unreadable.
        SlideError: A slide is unreadable.
    """
    if size_px & (size_px - 1):
        raise UsageError(f"--size {size_px}: StyleGAN3 takes powers of two, such as {1 << size_px.bit_length() - 1}")
    check_ending("--out", out, ".zip")
    with own_files([out], overwrite=overwrite):
        if any(map(holds_slides, places)):
            found = _tiles(slide_files(places), field_l0 or size_px, size_px, min_tissue)
        elif field_l0 is not None:
            raise UsageError("--field is for slides; of pictures, the middle square is taken")
        elif len(places) > 1:
            raise UsageError("wanted one folder of pictures, or slides")
        else:
            found = _squares(folder_images(places[0], skip_unreadable=skip_unreadable), size_px)
        written = 0
        with whole_file(out) as partial, zipfile.ZipFile(partial, "w") as archive, progress_bars() as bars:
            task = bars.add_task("pictures", total=found.count)
            for pixels in found.pixels:
                data = io.BytesIO()
                PIL.Image.fromarray(pixels).save(data, "png", compress_level=_COMPRESSION)
                archive.writestr(f"{written // 1000:05d}/img{written:08d}.png", data.getvalue())
                written += 1
                bars.advance(task)
            archive.writestr("dataset.json", json.dumps({"labels": None}))
        left_out = f"; {found.count - written} were damaged and left out" if written < found.count else ""
        say(f"{out}: {written} pictures of {size_px} x {size_px} px{left_out}")


def _squares(images: Images, size_px: int) -> _Pictures:
    """The middle square of each picture, resized."""
    small = [name for name, size in zip(images.names, images.sizes, strict=True) if min(size) < size_px]
    if small:
        raise UsageError(f"{len(small)} of {len(images)} pictures are smaller than {size_px} px, {small[0]} among them")

    def squares() -> Iterator[NDArray[np.uint8]]:
        for _, pixels in images.whole():
            height, width = pixels.shape[:2]
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            picture = PIL.Image.fromarray(pixels[top : top + side, left : left + side])
            yield np.asarray(picture.resize((size_px, size_px), PIL.Image.Resampling.LANCZOS))

    return _Pictures(len(images), squares())


def _tiles(paths: list[Path], field_l0: float, size_px: int, min_tissue: float) -> _Pictures:
    """The tiles of slides that hold tissue."""
    tables = []
    with progress_bars() as bars:
        for path in bars.track(paths, description="tissue of slides"):
            with open_slide(path) as slide:
                tables.append(find_tiles([slide], field_l0=field_l0, rule=RECOMMENDED, min_tissue=min_tissue))
    count = len(TileTable.concat(tables))
    if not count:
        raise UsageError(f"no tissue found for tiles of {field_l0:g} px; check the slides, or lower --min-tissue")

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for path, table in zip(paths, tables, strict=True):
            with open_slide(path) as slide:
                for x, y in zip(table.frame["x_l0"], table.frame["y_l0"], strict=True):
                    yield slide.read((float(x), float(y)), field_l0, size_px)

    return _Pictures(count, tiles())
