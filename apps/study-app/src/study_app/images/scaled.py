"""Slides at a common scale: a pixel has the same size in micrometres on both sides of a study."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pfid
from run_folder import UsageError
from study_app.images.importing import REAL, check_version
from wsi_tiling import Slide, check_distinct, open_slide

_AS_GOOD_AS = 0.02
"""Relative difference up to which scales count as equal, because resampling would blur only one side."""
_CACHE_MIB = 8.0
"""Size of the cache of decoded tiles of each slide, MiB; many slides are open at a time."""


class ScaledSlide:
    """A slide read at another scale; `pfid` can read it, too.

    Args:
        slide: A slide with a known scale.
        mpp: Target scale, micrometres a pixel.

    Attributes:
        factor: Width of a pixel in level-0 pixels of the slide.

    Raises:
        UsageError: The slide would have to be enlarged, so that readers could recognise it.
        SlideError: The scale of the slide is unknown.
    """

    def __init__(self, slide: Slide, mpp: float) -> None:
        own = slide.require_mpp()
        factor = mpp / own
        if factor < 1 - _AS_GOOD_AS:
            raise UsageError(
                f"{slide.path} has {own:.4g} micrometres a pixel, and would be enlarged to {mpp:.4g}: it would give "
                "itself away"
            )
        self.slide = slide
        self.mpp = mpp
        self.factor = factor if factor > 1 + _AS_GOOD_AS else 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, whole pixels."""
        width, height = self.slide.size_l0
        return int(width / self.factor), int(height / self.factor)

    def read(
        self, xy: tuple[float, float], field: float | tuple[float, float], size_px: int | tuple[int, int], /
    ) -> NDArray[np.uint8]:
        """Reads a field as `Slide.read` does, with position and size in pixels of this scale."""
        width, height = field if isinstance(field, tuple) else (field, field)
        return self.slide.read(
            (xy[0] * self.factor, xy[1] * self.factor), (width * self.factor, height * self.factor), size_px
        )

    def close(self) -> None:
        """Closes the file."""
        self.slide.close()


@dataclass(frozen=True)
class SlideSide:
    """The slides of one side.

    Args:
        paths: Files of the slides.
        unstated_mpp: Scale of slides whose files do not state one, micrometres a pixel; None: such slides are refused.

    Raises:
        UsageError: There is no slide, or two slides share a name.
        SlideError: A slide cannot be read, or its scale is unknown.
    """

    paths: tuple[Path, ...]
    unstated_mpp: float | None = None

    def __post_init__(self) -> None:
        names = [path.name for path in self.paths]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise UsageError(f"two slides have the name {twice[0]}" if twice else "there are no slides")
        _ = self.facts  # unreadable slides are an error at once

    @cached_property
    def facts(self) -> dict[str, tuple[tuple[int, int], float]]:
        """Width and height, and micrometres a pixel, of each slide by its name."""
        facts = {}
        for path in self.paths:
            with self._opened(path) as slide:
                facts[path.name] = slide.size_l0, slide.require_mpp()
        return facts

    def open(self, name: str, mpp: float) -> ScaledSlide:
        """Opens a slide at a scale; see `ScaledSlide`."""
        return ScaledSlide(self._opened(next(path for path in self.paths if path.name == name)), mpp)

    def images(self, mpp: float) -> pfid.Images:
        """The slides at a scale, as crops of them are planned."""
        sizes = []
        for name in self.facts:
            scaled = self.open(name, mpp)
            sizes.append(scaled.size)
            scaled.close()
        names = tuple(self.facts)
        return pfid.Images(names, tuple(sizes), names, partial(self.open, mpp=mpp))

    def _opened(self, path: Path) -> Slide:
        slide = open_slide(path, cache_mib=_CACHE_MIB)
        if slide.mpp is None and self.unstated_mpp is not None:
            slide.close()
            return open_slide(path, mpp=self.unstated_mpp, cache_mib=_CACHE_MIB)
        return slide


@dataclass(frozen=True)
class SlideSources:
    """Slides of both sides.

    Args:
        real: Files of real slides.
        synthetic: Files of slides that a model drew.
        version: The model.
        unstated_mpp: See `SlideSide`.

    Raises:
        UsageError: The version makes no sense, or see `SlideSide`.
        SlideError: Two files are the same slide, whatever their names; or see `SlideSide`.
    """

    real: tuple[Path, ...]
    synthetic: tuple[Path, ...]
    version: str
    unstated_mpp: float | None = None
    sides: dict[str, SlideSide] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_version(self.version)
        check_distinct([*self.real, *self.synthetic])
        paths = {REAL: self.real, self.version: self.synthetic}
        sides = {name: SlideSide(files, self.unstated_mpp) for name, files in paths.items()}
        object.__setattr__(self, "sides", sides)

    @property
    def mpp(self) -> float:
        """The scale at which no slide has to be enlarged, that of the coarsest: micrometres a pixel."""
        return max(mpp for side in self.sides.values() for _, mpp in side.facts.values())

    def sides_um(self) -> list[float]:
        """The shorter side of each slide, micrometres."""
        return [min(size) * mpp for side in self.sides.values() for size, mpp in side.facts.values()]

    def notes(self) -> list[str]:
        """Notes on differences in scale that readers might see, for those who run the study."""
        ranges = {
            name: [f"{end(mpp for _, mpp in side.facts.values()):.3g}" for end in (min, max)]
            for name, side in self.sides.items()
        }
        if len(set(map(tuple, ranges.values()))) == 1:
            return []
        spans = ", ".join(f"{' to '.join(dict.fromkeys(ends))} of {name}" for name, ends in ranges.items())
        return [f"micrometres a pixel: {spans}. Readers may tell the sides by their sharpness"]
