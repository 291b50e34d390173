"""`eval-app export`: images or tiles of slides as the zip file that StyleGAN3 trains on."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eval_app.measuring.sides import holds_slides
from eval_app.options import TrainingZipOptions
from pfid import folder_images
from pfid.images.training_zip import middle_squares, write_training_zip
from run_folder import UsageError
from run_folder.cli.console import progress_bars, say
from run_folder.outputs import check_ending, own_files
from wsi_tiling import RECOMMENDED, TileTable, find_tiles, open_slide, slide_files

Squares: TypeAlias = tuple[int, Iterator[NDArray[np.uint8]]]
"""Number of square images, and the images, each (S, S, 3) uint8; damaged ones are left out."""


def export_images(options: TrainingZipOptions) -> None:
    """Writes the zip file.

    Raises:
        UsageError: The size does not fit, or there is nothing to export.
        RunFolderError: The file exists.
        ImageError: Images are too small or unreadable.
        SlideError: A slide is unreadable.
    """
    size_px = options.size
    if size_px & (size_px - 1):
        raise UsageError(f"--size {size_px}: StyleGAN3 takes powers of two, such as {1 << size_px.bit_length() - 1}")
    check_ending("--out", options.out, ".zip")
    with own_files([options.out], overwrite=options.overwrite):
        count, squares = _squares(options)
        with progress_bars() as bars:
            written = write_training_zip(options.out, bars.track(squares, total=count, description="images"))
        damaged = count - written
        left_out = f"; {damaged} {'was' if damaged == 1 else 'were'} damaged and left out" if damaged else ""
        say(f"{options.out}: {written} images of {size_px} x {size_px} px{left_out}")


def _squares(options: TrainingZipOptions) -> Squares:
    if any(map(holds_slides, options.places)):
        return _tiles(options)
    if options.field is not None:
        raise UsageError("--field is for slides; of images, the middle square is taken")
    if len(options.places) > 1:
        raise UsageError("wanted one folder of images, or slides")
    images = folder_images(options.places[0], skip_unreadable=options.skip_unreadable)
    return len(images), middle_squares(images, options.size)


def _tiles(options: TrainingZipOptions) -> Squares:
    """The tiles of slides that hold tissue."""
    field_l0 = options.field or options.size
    tables = {}
    with progress_bars() as bars:
        for path in bars.track(slide_files(options.places), description="tissue of slides"):
            with open_slide(path) as slide:
                tables[path] = find_tiles([slide], field_l0=field_l0, rule=RECOMMENDED, min_tissue=options.min_tissue)
    count = len(TileTable.concat(list(tables.values())))
    if not count:
        raise UsageError(f"no tissue found for tiles of {field_l0:g} px; check the slides, or lower --min-tissue")

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for path, table in tables.items():
            with open_slide(path) as slide:
                for x, y in zip(table.frame["x_l0"], table.frame["y_l0"], strict=True):
                    yield slide.read((float(x), float(y)), field_l0, options.size)

    return count, tiles()
