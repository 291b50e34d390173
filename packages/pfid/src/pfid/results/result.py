"""The result of a measurement as a JSON file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pfid.errors import MetricError
from pfid.features.statistics import FeatureStatistics
from pfid.images.sources import Images
from pfid.metric_value import MetricValue, ScaleMetric
from run_folder import whole_file

ResultKind: TypeAlias = Literal["fid", "pfid", "memorise", "two-sample"]
FILE_NAMES: dict[ResultKind, str] = {"pfid": "pfid.json", "memorise": "memorise.json", "two-sample": "two-sample.json"}
"""Names of results in the folder of a measurement."""
_FORMAT = "eval-app result 1"


@dataclass(frozen=True)
class MeasuredSide:
    """One side of a comparison.

    Attributes:
        places: The folders and files that were given.
        images: Number of images or slides in them; None if a file of statistics lacks it.
        sha256: Checksum of the images' names and contents, or of the statistics: equal for equal sides.
    """

    places: tuple[str, ...]
    images: int | None
    sha256: str

    @classmethod
    def of(cls, places: Sequence[Path], side: Images | FeatureStatistics) -> "MeasuredSide":
        """Describes images or statistics, and the places that they come from."""
        names = tuple(map(str, places))
        if isinstance(side, FeatureStatistics):
            return cls(names, side.count, hashlib.sha256(side.mean.tobytes()).hexdigest())
        content = json.dumps([side.names, side.contents])
        return cls(names, len(side), hashlib.sha256(content.encode()).hexdigest())


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
    """The score of an image by a classifier that was not trained on the image's group.

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
    """The result of a measurement.

    Attributes:
        kind: The kind of measurement.
        name: Name of the generated side.
        real: The real side; for 'memorise' the training images.
        fake: The generated side.
        metrics: The values. (In the file: 'figures'.)
        by_scale: Patch-FID by magnification.
        neighbours: The training image nearest to each generated one, the nearest first.
        scores: The score of each image by the classifier of 'two-sample', the real images first.
        picture: Name of the picture beside the file.
        caption: Caption of the picture.
        versions: Versions of the software, by name.
        date: When it was measured, UTC.
    """

    kind: ResultKind
    name: str
    real: MeasuredSide
    fake: MeasuredSide
    metrics: tuple[MetricValue, ...]
    by_scale: tuple[ScaleMetric, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    scores: tuple[ImageScore, ...] = ()
    picture: str | None = None
    caption: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON can hold it."""
        document = asdict(self)
        document["figures"] = document.pop("metrics")
        document["by_scale"] = [scale.to_dict() for scale in self.by_scale]
        return document

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        with whole_file(path) as partial:
            text = json.dumps({"format": _FORMAT} | self.to_dict(), indent=1, ensure_ascii=False)
            partial.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Result":
        """Reads a result.

        Args:
            path: The file, or the folder of a measurement.

        Raises:
            MetricError: There is none, or it is damaged.
        """
        path = result_file(Path(path))
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            result = cls._from_dict(document) if document.pop("format") == _FORMAT else None
        except OSError as error:
            raise MetricError(f"{path} cannot be read: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise MetricError(f"{path} is no result of eval-app, or it is damaged") from None
        if result is None:
            raise MetricError(f"{path} is a result of another version of eval-app")
        return result

    @classmethod
    def _from_dict(cls, document: dict[str, Any]) -> "Result":
        for side in ("real", "fake"):
            document[side] = MeasuredSide(**document[side] | {"places": tuple(document[side]["places"])})
        document["metrics"] = tuple(map(MetricValue.from_dict, document.pop("figures")))
        document["by_scale"] = tuple(map(ScaleMetric.from_dict, document["by_scale"]))
        document["neighbours"] = tuple(Neighbour(**neighbour) for neighbour in document["neighbours"])
        document["scores"] = tuple(ImageScore(**score) for score in document.get("scores", ()))
        result = cls(**document)
        texts = (result.name, result.date, *result.versions.values())
        if result.kind not in get_args(ResultKind) or not result.metrics or not all(isinstance(t, str) for t in texts):
            raise ValueError
        return result


def result_file(place: Path) -> Path:
    """Returns the file of a result, of which the folder may be given.

    Raises:
        MetricError: The folder has none.
    """
    if not place.is_dir():
        return place
    for name in FILE_NAMES.values():
        if (place / name).exists():
            return place / name
    raise MetricError(f"{place}: no result in this folder (wanted {' or '.join(FILE_NAMES.values())})")
