"""Images in memory, and anything that is read by region, such as slides."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pfid.errors import ImageError
from run_folder import content_digest, first_line

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) 8-bit RGB."""

LANCZOS = "Lanczos"
"""The filter by which a `Picture` reads regions."""
_LANCZOS_LOBES = 3
_SHOWN = 5


class ImageSource(Protocol):
    """An image that is read by region."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        ...

    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        """Reads a square region, antialiased.

        Args:
            xy: Its upper left corner (x, y), pixels of the image; fractions are meant.
            field: Its side, pixels of the image.
            size_px: Side of the result.

        Returns:
            (size_px, size_px, 3) uint8.
        """
        ...


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in memory, read by Lanczos.

    Args:
        pixels: (H, W, 3) uint8.

    Raises:
        ImageError: The pixels have another shape or type.
    """

    pixels: Image

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or kind != np.uint8 or not self.pixels.size:
            raise ImageError(f"wanted an image (H, W, 3) of uint8, got {shape} of {kind}")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        """Reads a square region: what resizing the whole picture by Lanczos and cropping gives, but for rounding.

        Pillow keeps the corners of a region in single precision, so that some values differ by one grey level.

        Args:
            xy: Its upper left corner (x, y), pixels.
            field: Its side, pixels.
            size_px: Side of the result.

        Returns:
            (size_px, size_px, 3) uint8.

        Raises:
            ImageError: The region is empty or leaves the picture.
        """
        spans, box = [], []
        # The filter reaches so many pixels beyond the region, and no further: the rest need not be looked at.
        margin = _LANCZOS_LOBES * max(1.0, field / size_px) + 1
        for begin, length in zip(xy, self.size, strict=True):
            if not (field > 0 and size_px > 0 and begin >= 0 and begin + field <= length + 1e-6):
                raise ImageError(
                    f"wanted a square region inside {self.size[0]} x {self.size[1]} px, got {field} at {xy}"
                )
            first, last = max(0, int(begin - margin)), min(length, int(begin + field + margin) + 1)
            spans.append(slice(first, last))
            box.append((begin - first, min(begin + field, length) - first))
        window = PIL.Image.fromarray(np.ascontiguousarray(self.pixels[spans[1], spans[0]]))
        corners = (box[0][0], box[1][0], box[0][1], box[1][1])
        return np.asarray(window.resize((size_px, size_px), PIL.Image.Resampling.LANCZOS, box=corners))


@dataclass(frozen=True, eq=False)
class Images:
    """The images of one side of a comparison.

    Args:
        names: Their names in crop plans, each once.
        sizes: Width and height of each, pixels.
        places: The argument of `open` for each, such as its path.
        open: Opens an image. For worker processes it has to be picklable, as do the places.
        reading: How regions are read, in words: metric values of different readings are not compared.
        notes: Notes for the reader of a metric value, a line each.
        skip_unreadable: Whether images that turn out to be damaged are left out instead of refused.
        formats: The format of each image's file, such as 'JPEG'; empty if unknown.

    Raises:
        ImageError: There are none, or two of one name.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    places: tuple[Any, ...]
    open: Callable[[Any], ImageSource]
    reading: str = LANCZOS
    notes: tuple[str, ...] = ()
    skip_unreadable: bool = field(default=False, kw_only=True)
    formats: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.names:
            raise ImageError("wanted one image or more, got none")
        if not len(self.names) == len(self.sizes) == len(self.places):
            raise ImageError("wanted a name, a size and a place for each image")
        if self.formats and len(self.formats) != len(self.names):
            raise ImageError("wanted a format for each image, or none")
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise ImageError(f"wanted images of different names, got {listed(twice)} more than once")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def contents(self) -> tuple[str, ...]:
        """A digest of the content of each image's file, or of its pixels in memory.

        Raises:
            ImageError: A file cannot be read.
        """
        return tuple(_content(place) for place in self.places)

    @property
    def jpeg_share(self) -> float:
        """Share of the images that are JPEG files, in [0, 1]."""
        return self.formats.count("JPEG") / len(self)

    def source(self, number: int) -> ImageSource:
        """Opens an image."""
        return self.open(self.places[number])

    def pixels(self, number: int) -> Image:
        """All of an image, (H, W, 3).

        Raises:
            ImageError: It is damaged, or one that is only read by region.
        """
        source = self.source(number)
        if not isinstance(source, Picture):
            raise ImageError(f"{self.names[number]} is read by region, not whole: measure it by crops")
        return source.pixels

    def whole(self) -> Iterator[tuple[int, Image]]:
        """Yields the number and all pixels (H, W, 3) of each image, in their order.

        Raises:
            ImageError: Images are unreadable and not to be skipped, or none is left; raised at the end, and names all.
        """
        bad: list[str] = []
        for number in range(len(self)):
            try:
                pixels = self.pixels(number)
            except ImageError as error:
                bad.append(str(error))
            else:
                yield number, pixels
        if bad and (not self.skip_unreadable or len(bad) == len(self)):
            raise unreadable(bad, len(self))

    def select(self, names: Sequence[str]) -> "Images":
        """Returns the images of some names, in that order."""
        numbers = [self.names.index(name) for name in names]
        sizes, places = (tuple(column[number] for number in numbers) for column in (self.sizes, self.places))
        formats = tuple(self.formats[number] for number in numbers) if self.formats else ()
        return replace(self, names=tuple(names), sizes=sizes, places=places, formats=formats)

    def joined(self, *others: "Images") -> "Images":
        """Returns these images and others that are opened in the same way, as one side.

        Raises:
            ImageError: Two have one name.
        """
        sides = (self, *others)
        return replace(
            self,
            names=tuple(name for side in sides for name in side.names),
            sizes=tuple(size for side in sides for size in side.sizes),
            places=tuple(place for side in sides for place in side.places),
            notes=tuple(note for side in sides for note in side.notes),
            formats=tuple(kind for side in sides for kind in side.formats),
        )

    def notes_after(self, measured: int) -> tuple[str, ...]:
        """Returns the notes, with one on damaged images if fewer than all could be measured."""
        damaged = len(self) - measured
        return self.notes + ((f"{damaged} of {len(self)} images left out as damaged",) if damaged else ())


def region_images(
    paths: Iterable[str | Path],
    open: Callable[[Path], ImageSource],  # noqa: A002
    *,
    skip_unreadable: bool = False,
) -> Images:
    """Images in files that are read by region, such as slides: each is opened once for its size.

    Args:
        paths: The files. In crop plans they go by their names, without folders.
        open: Opens a file, such as `wsi_tiling.open_slide`.
        skip_unreadable: Leaves unreadable files out, with a note, instead of refusing them.

    Raises:
        ImageError: There are no files, two have one name, or files are unreadable.
    """
    sizes: dict[Path, tuple[int, int]] = {}
    bad: list[str] = []
    files = tuple(map(Path, paths))
    for path in files:
        try:
            source = open(path)
            sizes[path] = source.size
            close(source)
        except (ValueError, OSError) as error:
            bad.append(first_line(error))
    if bad and (not skip_unreadable or not sizes):
        raise unreadable(bad, len(files))
    opener = getattr(open, "func", open)  # a `functools.partial` goes by the name of its function
    reading = f"{opener.__module__.partition('.')[0]}.{opener.__qualname__}"
    notes = (f"{len(bad)} of {len(files)} images left out as unreadable: {listed(bad)}",) if bad else ()
    return Images(tuple(path.name for path in sizes), tuple(sizes.values()), tuple(sizes), open, reading, notes)


def close(source: ImageSource) -> None:
    """Closes an image, if it is of a kind that can be closed."""
    closing = getattr(source, "close", None)
    if closing is not None:
        closing()


def note_compression(real: Images, fake: Images) -> tuple[Images, Images]:
    """Adds a note to the generated images if JPEG files are a larger share of one side than of the other.

    A distance between the sides then also measures the traces of compression: between the same images as PNG and as
    JPEG it is far from 0.

    Returns:
        The real images, and the generated ones.
    """
    shares = real.jpeg_share, fake.jpeg_share
    if not (real.formats and fake.formats) or shares[0] == shares[1]:
        return real, fake
    note = (
        f"{shares[1]:.0%} of these are JPEG files, {shares[0]:.0%} of the real images: metrics also measure the "
        "compression; save both sides alike"
    )
    return real, replace(fake, notes=(*fake.notes, note))


def array_images(arrays: Mapping[str, Image] | Sequence[Image] | Image) -> Images:
    """Images in memory, each (H, W, 3) uint8; images without names are named by their index.

    Raises:
        ImageError: There are none, or one has another shape or type.
    """
    if not isinstance(arrays, Mapping):
        arrays = {f"{number:06d}": array for number, array in enumerate(arrays)}
    pictures = tuple(map(Picture, arrays.values()))
    return Images(tuple(arrays), tuple(picture.size for picture in pictures), pictures, _itself)


def _content(place: Any) -> str:
    """The digest of an image's content: for a MIRAX slide, also that of the folder with its pixels."""
    if isinstance(place, Picture):
        return hashlib.sha256(f"{place.size} ".encode() + place.pixels.tobytes()).hexdigest()
    if not isinstance(place, str | Path):
        return hashlib.sha256(repr(place).encode()).hexdigest()
    path = Path(place)
    beside = path.with_suffix("")
    try:
        digest = content_digest(path)
        if path.suffix.lower() == ".mrxs" and beside.is_dir():
            digest = hashlib.sha256(f"{digest} {content_digest(beside)}".encode()).hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error
    return digest


def _itself(picture: Picture) -> Picture:
    return picture


def unreadable(bad: Sequence[str], count: int) -> ImageError:
    """The error for unreadable images among `count` images."""
    return ImageError(f"{len(bad)} of {count} images cannot be read: {listed(bad)}")


def listed(lines: Sequence[str]) -> str:
    """The first few of many lines in one, and how many more there are."""
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more
