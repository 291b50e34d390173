"""Writing one shard."""

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

import numpy as np
import pandas as pd

from wsi_tiling.checks import check_number, check_whole
from wsi_tiling.errors import SlideError
from wsi_tiling.reading.concentric import read_concentric
from wsi_tiling.reading.labels import Labels, open_labels, read_labels
from wsi_tiling.reading.openers import open_slide
from wsi_tiling.reading.slide import ArraySlide, Slide, load_into_memory
from wsi_tiling.region import Image
from wsi_tiling.running.notes import save_frame
from wsi_tiling.shards.codec import SUFFIXES, encode_image, encode_labels

ReadMask: TypeAlias = Callable[[str, tuple[int, int], float, int], Labels]
"""Called with a slide's name, a tile's corner and side in level-0 pixels, and the side of the mask in pixels; gives
(side, side) of uint8 or uint16."""
Masks: TypeAlias = ReadMask | Mapping[str, str | Path]
"""How masks are read; or the paths of label images, of the size of the slides, by the slides' names."""

ABOUT = ["patient", "slide", "slide_id", "x_l0", "y_l0", "field_l0", "tissue", "split"]
"""The columns of a tile table that shards keep."""
_BLOCK = 512
_IN_MEMORY_PX = 2**26


@dataclass(frozen=True)
class ShardSettings:
    """The contents and coding of shards.

    Args:
        size_px: Side of the image of a tile.
        contexts: Side of the field, in level-0 pixels, and of the image of each context: concentric with the tile.
        format: 'png' keeps every pixel; 'jpeg', without subsampling of colours, takes a quarter of the room. Masks are
            PNG either way.
        quality: Of JPEG, 1 to 100.
        compress: PNG as usual; if not, files of tissue are a third larger, those of glass many times, and all are read
            ten times as fast.
        tiles_per_shard: Tiles a shard; the last of a split holds what is left.
        seed: Of the order of tiles, random in each split over all slides.

    Raises:
        SlideError: A number is out of range.
    """

    size_px: int
    contexts: tuple[tuple[float, int], ...] = ()
    format: Literal["png", "jpeg"] = "png"
    quality: int = 90
    compress: bool = True
    tiles_per_shard: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        sides = [self.size_px, *(size for _, size in self.contexts)]
        for side in sides:
            check_whole("images of at least 1 px a side", side, least=1)
        for field, _ in self.contexts:
            check_number("contexts of positive fields", field, above=0)
        if self.format not in SUFFIXES:
            raise SlideError(f"wanted the format 'png' or 'jpeg', got '{self.format}'")
        check_whole("a quality of 1 to 100", self.quality, least=1, most=100)
        check_whole("one tile a shard or more", self.tiles_per_shard, least=1)
        check_whole("a seed of at least 0", self.seed, least=0)


@dataclass(frozen=True, eq=False)
class ShardPlan:
    """A shard to write.

    Args:
        name: Of the file.
        split: Of the tiles.
        first: Number of the first tile in its split.
        rows: Rows of a tile table, in the order of the shard.
    """

    name: str
    split: str
    first: int
    rows: pd.DataFrame

    def key(self, row: int) -> str:
        """The beginning of the names of a tile's files."""
        return f"{self.split}-{self.first + row:08d}"


@dataclass(frozen=True)
class WriteShard:
    """Writes shards.

    Args:
        out: Their folder.
        settings: What they hold.
        masks: What is put beside the images.
    """

    out: Path
    settings: ShardSettings
    masks: Masks | None

    def __call__(self, plan: ShardPlan) -> None:
        """Writes a shard and, when it is whole, its index.

        Raises:
            SlideError: A slide or label image cannot be opened, or a mask does not fit.
            OSError: A file cannot be written.
        """
        # Slides are read place by place, but tiles written in their drawn order: in between they lie on the disk.
        with tempfile.TemporaryFile(dir=self.out) as spool:
            members = self._read(plan, spool)
            index, left_out = self._write(plan, spool, members)
        note = {"contexts_l0": [field for field, _ in self.settings.contexts], "left_out": left_out}
        save_frame(index, index_path(self.out / plan.name), note)

    def _read(self, plan: ShardPlan, spool: IO[bytes]) -> list[list[tuple[str, int, int]] | str]:
        """Names of each tile's members with their places in the spool and lengths; or why there are none."""
        members: list[list[tuple[str, int, int]] | str] = ["" for _ in plan.rows.index]
        numbered = plan.rows.assign(row=range(len(plan.rows)))
        for path, tiles in numbered.groupby("path"):
            name = tiles["slide"].iloc[0]
            with open_slide(Path(str(path))) as opened:
                slide = self._in_memory(opened, tiles)
                read_mask = self._mask_reader(name, slide)
                places = tiles.sort_values(["field_l0", "y_l0", "x_l0"])[["row", "x_l0", "y_l0", "field_l0"]]
                for row, x, y, field in places.itertuples(index=False):
                    begin = spool.tell()
                    try:
                        pictures = list(self._pictures(slide, (x, y), field))
                    except SlideError as error:
                        members[row] = str(error)
                        continue
                    if read_mask is not None:
                        pictures.append(("mask.png", encode_labels(self._checked(read_mask, name, (x, y), field))))
                    found = []
                    for member, coded in pictures:
                        spool.write(coded)
                        found.append((member, begin, len(coded)))
                        begin += len(coded)
                    members[row] = found
        return members

    def _pictures(self, slide: Slide, xy_l0: tuple[int, int], field_l0: float) -> Iterator[tuple[str, bytes]]:
        settings, suffix = self.settings, SUFFIXES[self.settings.format]
        image = slide.read(xy_l0, field_l0, settings.size_px)
        yield f"image.{suffix}", self._encoded(image)
        centre = (xy_l0[0] + field_l0 / 2, xy_l0[1] + field_l0 / 2)
        for number, (around, size_px) in enumerate(settings.contexts, start=1):
            (context,) = read_concentric(slide, centre, [around], size_px)
            yield f"context-{number}.{suffix}", self._encoded(context)

    def _encoded(self, image: Image) -> bytes:
        return encode_image(image, self.settings.format, self.settings.quality, self.settings.compress)

    def _write(
        self, plan: ShardPlan, spool: IO[bytes], members: list[list[tuple[str, int, int]] | str]
    ) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
        """Writes the tar; gives its index, and the tiles that are not in it with the reasons."""
        path = self.out / plan.name
        partial = path.with_name(f".{path.name}.partial")  # one name: the next run replaces what a killed one left
        contexts = {"contexts_l0": [field for field, _ in self.settings.contexts]}
        rows, left_out = [], []
        try:
            with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
                for row, about in enumerate(plan.rows[ABOUT].to_dict("records")):
                    key, found = plan.key(row), members[row]
                    if isinstance(found, str):
                        left_out.append((key, found))
                        continue
                    places: dict[str, int] = {}
                    for member, begin, length in found:
                        spool.seek(begin)
                        places |= _add(tar, f"{key}.{member}", length, spool)
                    text = json.dumps(about | contexts).encode()
                    places |= _add(tar, f"{key}.json", len(text), io.BytesIO(text))
                    rows.append({"key": key} | about | places)
            os.replace(partial, path)  # noqa: PTH105 - says that it replaces
        finally:
            partial.unlink(missing_ok=True)
        return pd.DataFrame(rows, columns=self._columns()), left_out

    def _columns(self) -> list[str]:
        """Of the index."""
        suffix = SUFFIXES[self.settings.format]
        contexts = [f"context-{number}.{suffix}" for number in range(1, len(self.settings.contexts) + 1)]
        members = [f"image.{suffix}", *contexts, *(["mask.png"] if self.masks is not None else []), "json"]
        return ["key", *ABOUT, *(column for name in members for column in (name, size_column(name)))]

    def _in_memory(self, slide: Slide, tiles: pd.DataFrame) -> Slide:
        """The slide itself; or, if it has one level only and is to be read over and over, a copy in memory."""
        width, height = slide.size_l0
        if isinstance(slide, ArraySlide) or len(slide.levels) > 1 or width * height > _IN_MEMORY_PX:
            return slide
        fields = [float(tiles["field_l0"].mean()), *(field for field, _ in self.settings.contexts)]
        to_read = len(tiles) * sum(min(field, width) * min(field, height) for field in fields)
        try:
            return load_into_memory(slide) if to_read > 2 * width * height else slide
        except SlideError:  # damaged somewhere: reading the tiles shows where
            return slide

    def _mask_reader(self, name: str, slide: Slide) -> ReadMask | None:
        if self.masks is None or callable(self.masks):
            return self.masks
        path = self.masks[name]
        labels = open_labels(path)
        if labels.shape[::-1] != slide.size_l0:
            sizes = " x ".join(map(str, labels.shape[::-1])), " x ".join(map(str, slide.size_l0))
            raise SlideError(f"{path}: wanted labels of the slide's {sizes[1]} px, got {sizes[0]} px")
        return lambda _, xy_l0, field_l0, size_px: read_labels(labels, xy_l0, field_l0, size_px)

    def _checked(self, read_mask: ReadMask, name: str, xy_l0: tuple[int, int], field_l0: float) -> Labels:
        side = self.settings.size_px
        mask = read_mask(name, xy_l0, field_l0, side)
        if mask.shape != (side, side) or mask.dtype not in (np.uint8, np.uint16):
            raise SlideError(
                f"the mask of slide '{name}' at {xy_l0}: wanted ({side}, {side}) of uint8 or uint16, got {mask.shape} "
                f"of {mask.dtype}"
            )
        return mask


def index_path(shard: Path) -> Path:
    """The file of a shard's index."""
    return shard.with_suffix(".parquet")


def size_column(member: str) -> str:
    """The column of an index that holds the lengths of a member, whose places are in the column of its own name."""
    return f"{member}:size"


def _add(tar: tarfile.TarFile, name: str, length: int, source: IO[bytes]) -> dict[str, int]:
    """Adds a file; gives where it lies, as columns of the index."""
    info = tarfile.TarInfo(name)
    info.size = length
    place = tar.offset + _BLOCK  # after the header, which is one block for names as short as these
    tar.addfile(info, source)
    member = name.partition(".")[2]
    return {member: place, size_column(member): length}
