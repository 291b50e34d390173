"""Slides that are open to be shown, with what the page tells about each."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from urcdm_app.view.description import read_description, read_objective_power
from wsi_tiling import Slide, open_slide
from wsi_tiling.viewer import DeepZoom

_UM_PX_AT_ONE_FOLD = 10.0
"""Scanners' rule of thumb: with an objective of 20x a pixel is 0.5 micrometres, with 40x a quarter."""


@dataclass(frozen=True)
class ShownSlide:
    """An open slide with its name and what its file says.

    Args:
        slide: The open slide.
        key: What names the slide in addresses; another file, or the same one changed, has another key.
        name: The file's name.
        description: How the picture was made, one statement a line; empty if the file does not say.
        objective_power: Power of the objective that the file states, None if it states none.
    """

    slide: Slide
    key: str
    name: str
    description: str
    objective_power: float | None

    @cached_property
    def pyramid(self) -> DeepZoom:
        """The tiles that the browser asks for."""
        return DeepZoom(self.slide.size_l0)

    @property
    def magnification(self) -> float | None:
        """Magnification of level 0: as the file states it, else as a pixel's size tells; None if neither is known."""
        if self.objective_power is not None or self.slide.mpp is None:
            return self.objective_power
        return _UM_PX_AT_ONE_FOLD / self.slide.mpp

    def facts(self) -> dict[str, str | float | None]:
        """What the scripts of the page have to know."""
        return {
            "key": self.key,
            "name": self.name,
            "mpp": self.slide.mpp,
            "magnification": self.magnification,
            **self.pyramid.facts(),
        }


def open_to_show(path: Path, number: int) -> ShownSlide:
    """Opens a slide to be shown.

    Args:
        path: The file.
        number: Place of the slide on the page, so that one file may be shown twice.

    Raises:
        SlideError: The file is missing, damaged or no slide.
    """
    slide = open_slide(path)
    state = path.stat()
    version = hashlib.sha256(f"{path.resolve()} {state.st_mtime_ns} {state.st_size}".encode()).hexdigest()[:12]
    return ShownSlide(slide, f"{number}-{version}", path.name, read_description(path), read_objective_power(path))
