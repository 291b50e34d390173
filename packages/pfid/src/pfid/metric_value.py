"""A metric value with its provenance."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from pfid.errors import MetricError, is_finite


@dataclass(frozen=True)
class MetricValue:
    """The value of a metric with its provenance.

    Values are ordered and subtracted only if they mean the same: a difference in name, extractor, resize or plan is a
    `MetricError`. Numbers of images and crops are recorded and not compared.

    Attributes:
        name: Name of the metric, such as 'FID'.
        value: The value.
        extractor: Name of the extractor, with the checksum of its weights.
        resize: How images were resized for it.
        n_real: Number of real images, or crops of them; None if a file of statistics lacks it.
        n_fake: The same for the generated images.
        plan: Protocol of the crops and its settings, if crops were measured.
        plan_sha256: Checksum of the crop plan.
        interval: Lower and upper end of the interval, if there is one.
        confidence: Confidence of the interval, such as 0.95.
        note: Notes for the reader.
    """

    name: str
    value: float
    extractor: str
    resize: str
    n_real: int | None
    n_fake: int | None
    plan: str | None = None
    plan_sha256: str | None = None
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    note: str | None = None

    def __post_init__(self) -> None:
        for name in ("value", "interval", "confidence"):
            numbers = getattr(self, name) if name == "interval" else (getattr(self, name),)
            if numbers is None:
                continue
            if not all(map(is_finite, numbers)):
                raise MetricError(f"{self.name}: {getattr(self, name)} is no metric value; its {name} has to be finite")
            # NumPy's own kinds cannot be written as JSON
            plain = tuple(map(float, numbers))
            object.__setattr__(self, name, plain if name == "interval" else plain[0])

    def __str__(self) -> str:
        """One line: value, interval and provenance."""
        parts = [f"{self.name} {self.value:.5g}"]
        if self.interval:
            low, high = self.interval
            parts[0] += f" [{low:.5g}, {high:.5g}] ({self.confidence:.0%})"
        parts.append(f"{_count(self.n_real)} real, {_count(self.n_fake)} generated")
        parts.append(self.extractor)
        parts.append(f"resize: {self.resize}")
        if self.plan:
            parts.append(f"crops: {self.plan}" + (f" (sha256 {self.plan_sha256[:12]})" if self.plan_sha256 else ""))
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)

    def __lt__(self, other: "MetricValue") -> bool:
        self.check_comparable(other)
        return self.value < other.value

    def __sub__(self, other: "MetricValue") -> float:
        self.check_comparable(other)
        return self.value - other.value

    def check_comparable(self, other: "MetricValue") -> None:
        """Raises a MetricError that names the difference, if two values mean different things."""
        for field in ("name", "extractor", "resize", "plan"):
            mine, its = getattr(self, field), getattr(other, field)
            if mine != its:
                raise MetricError(f"metric values of different {field} cannot be compared: {mine} and {its}")

    def to_json(self) -> str:
        """Returns it as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "MetricValue":
        """Reads an object that `to_json` wrote.

        Raises:
            MetricError: The text is no such object.
        """
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        return cls.from_dict(document)

    @classmethod
    def from_dict(cls, document: Any) -> "MetricValue":
        """Makes one of what JSON holds.

        Raises:
            MetricError: It lacks a field, or has others.
        """
        try:
            entries = dict(document)
            if entries.get("interval") is not None:
                low, high = entries["interval"]
                entries["interval"] = (float(low), float(high))
            return cls(**entries)
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, MetricError):
                raise
            names = ", ".join(field.name for field in fields(cls))
            raise MetricError(f"no metric value: wanted a JSON object with {names}") from None


@dataclass(frozen=True)
class ScaleMetric:
    """The patch-FID of crops of similar magnification.

    Attributes:
        reduction: Least and largest number of pixels of the real image that a pixel of these patches is wide.
        metric: Their patch-FID.
    """

    reduction: tuple[float, float]
    metric: MetricValue

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON can hold it."""
        return {"reduction": self.reduction, "figure": asdict(self.metric)}

    @classmethod
    def from_dict(cls, document: Any) -> "ScaleMetric":
        """Makes one of what JSON holds."""
        low, high = document["reduction"]
        return cls((low, high), MetricValue.from_dict(document["figure"]))


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
