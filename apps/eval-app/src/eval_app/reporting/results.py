"""The results of measurements, as JSON files that `report` reads."""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pfid import Figure, FigureError, Images, ScaleFigure
from run_folder import UsageError, whole_file
from run_folder.cli.console import say

Kind: TypeAlias = Literal["fid", "pfid", "memorise", "two-sample"]
FILE_NAMES = {"pfid": "pfid.json", "memorise": "memorise.json", "two-sample": "two-sample.json"}
"""What a result is called in the folder of its command."""
_FORMAT = "eval-app result 1"
_PACKAGES = ("eval-app", "pfid", "wsi-tiling", "torch", "numpy", "pillow")


@dataclass(frozen=True)
class MeasuredSide:
    """One side of a comparison.

    Attributes:
        places: The folders and files that were given.
        images: Number of images or slides in them; None where a file of statistics does not say it.
        sha256: Checksum of the images' names and contents, or of the file of statistics: the same for the same side.
    """

    places: tuple[str, ...]
    images: int | None
    sha256: str

    @classmethod
    def of(cls, places: Sequence[Path], images: Images) -> "MeasuredSide":
        """Tells of images and of where they are."""
        listed = json.dumps([images.names, images.contents])
        return cls(tuple(map(str, places)), len(images), hashlib.sha256(listed.encode()).hexdigest())


@dataclass(frozen=True)
class Neighbour:
    """A generated image and the training image nearest to it.

    Attributes:
        fake: Name of the generated image.
        train: Name of the training image.
        distance: Distance of their features.
        copy: Whether it counts as a copy.
    """

    fake: str
    train: str
    distance: float
    copy: bool


@dataclass(frozen=True)
class ImageScore:
    """An image as a classifier sees it that has not seen the image's group.

    Attributes:
        kind: 'real' or 'fake'.
        name: Name of the image.
        group: Name of its group.
        realness: Probability that it is real, in [0, 1].
    """

    kind: str
    name: str
    group: str
    realness: float


@dataclass(frozen=True)
class Result:
    """What a command has measured.

    Attributes:
        kind: The command.
        name: What the generated side is called.
        real: The real side; for 'memorise' the training images.
        fake: The generated side.
        figures: The values.
        by_scale: Patch-FID by magnification.
        neighbours: The training image nearest to each generated one, the nearest first.
        scores: How real each image looks to the classifier of 'two-sample', the real images first.
        picture: Name of the picture beside the file.
        caption: What is in the picture.
        versions: Of the software.
        date: When it was measured, UTC.
    """

    kind: Kind
    name: str
    real: MeasuredSide
    fake: MeasuredSide
    figures: tuple[Figure, ...]
    by_scale: tuple[ScaleFigure, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    scores: tuple[ImageScore, ...] = ()
    picture: str | None = None
    caption: str | None = None
    versions: dict[str, str] = field(default_factory=lambda: _versions())
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        with whole_file(path) as partial:
            text = json.dumps({"format": _FORMAT} | asdict(self), indent=1, ensure_ascii=False)
            partial.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Reads what `save` wrote.

        Raises:
            UsageError: It is no such file.
        """
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if told.pop("format") != _FORMAT:
                raise UsageError(f"{path} is a result of another version of eval-app")
            for side in ("real", "fake"):
                told[side] = MeasuredSide(**told[side] | {"places": tuple(told[side]["places"])})
            told["figures"] = tuple(map(_figure, told["figures"]))
            told["by_scale"] = tuple(
                ScaleFigure((each["reduction"][0], each["reduction"][1]), _figure(each["figure"]))
                for each in told["by_scale"]
            )
            told["neighbours"] = tuple(Neighbour(**each) for each in told["neighbours"])
            told["scores"] = tuple(ImageScore(**each) for each in told.get("scores", ()))
            result = cls(**told)
            result._check()
            return result
        except UsageError:
            raise
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
        except (FigureError, ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise UsageError(f"{path} is no result of eval-app, or it is damaged") from None

    def _check(self) -> None:
        """Raises ValueError if what was read cannot be reported."""
        texts = (self.name, self.date, *self.versions.values())
        if self.kind not in get_args(Kind) or not self.figures or not all(isinstance(text, str) for text in texts):
            raise ValueError


def result_file(place: Path) -> Path:
    """The file of a result, which may be told by its folder.

    Raises:
        UsageError: The folder has none.
    """
    if not place.is_dir():
        return place
    for name in FILE_NAMES.values():
        if (place / name).exists():
            return place / name
    raise UsageError(f"{place}: no result in this folder (wanted {' or '.join(FILE_NAMES.values())})")


def side_name(name: str | None, places: Sequence[Path]) -> str:
    """What a generated side is called: as told, or after its places."""
    return name or ", ".join(place.stem if place.is_file() else place.resolve().name for place in places)


def _figure(told: dict[str, Any]) -> Figure:
    return Figure.from_json(json.dumps(told))


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def show_figures(figures: Sequence[Figure]) -> None:
    """Prints figures of one measurement: all about the first, then the values of the others."""
    say(str(figures[0]))
    for figure in figures[1:]:
        say(f"{figure.name} {figure.value:.5g}")
