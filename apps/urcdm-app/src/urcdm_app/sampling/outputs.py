"""The files of a slide: the slide itself, and what is written beside it."""

import json
import os
from dataclasses import astuple, dataclass
from pathlib import Path

from run_folder import UsageError
from urcdm import RunRecord


@dataclass(frozen=True)
class Outputs:
    """The files that `sample` and `outpaint` write.

    Args:
        slide: The TIFF.
        preview: The slide at a small size, PNG.
        page: The report, HTML.
        figures: The data of the report, JSON.
    """

    slide: Path
    preview: Path
    page: Path
    figures: Path

    @classmethod
    def of(cls, slide: Path) -> "Outputs":
        """Names the files beside a slide.

        Raises:
            UsageError: The name is not that of a TIFF.
        """
        if slide.suffix.lower() not in (".tiff", ".tif"):
            raise UsageError(f"--out {slide}: the slide is a TIFF; give a name that ends in .tiff")
        return cls(slide, *(slide.with_suffix(suffix) for suffix in (".png", ".html", ".json")))

    @property
    def canvas(self) -> Path:
        """The folder that keeps finished patches until the slide is whole."""
        return self.slide.with_suffix(".canvas")

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return astuple(self)

    def refuse_existing(self, *, overwrite: bool, resume: bool) -> None:
        """Refuses a run whose files, or canvas, exist already, unless an earlier run wrote them.

        `--overwrite` replaces the slide, which was named, and the files beside it only if its report or the canvas of
        an interrupted run says that they belong to a slide.

        Raises:
            UsageError: A file or the canvas exists.
            CanvasError: The record of an interrupted run is damaged.
        """
        own = set(RunRecord.load(self.canvas).files) if overwrite or resume else set()
        if overwrite:
            own |= {self.slide.name, *(path.name for path in self.paths if self._is_described())}
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                raise UsageError(f"{path} is a folder; give another --out")
            if os.path.lexists(path) and path.name not in own:
                raise UsageError(
                    f"{path} exists, and no report beside it says that it belongs to a slide; give another --out"
                    if overwrite
                    else f"{path} exists; give another --out, or --overwrite to replace it"
                )
        if self.canvas.exists() and not (resume or overwrite):
            raise UsageError(f"{self.canvas} holds an unfinished run; go on with --resume, or drop it with --overwrite")

    def _is_described(self) -> bool:
        """Whether the JSON file is the one that this app writes for the slide."""
        try:
            values = json.loads(self.figures.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        is_ours = isinstance(values, dict) and {"slide", "model", "settings", "stages"} <= values.keys()
        return is_ours and bool(values["slide"] == self.slide.name)
