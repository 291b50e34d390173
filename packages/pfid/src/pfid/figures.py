"""A figure with all that it takes to repeat it, and to know what it may be compared with."""

import json
from dataclasses import asdict, dataclass, fields

from pfid.errors import FigureError, is_finite


@dataclass(frozen=True)
class Figure:
    """One value, and what it is of.

    Figures are ordered and subtracted by their values, but only where they mean the same: another name, extractor,
    resize or plan is a `FigureError`. Number of images and crops are told and not checked.

    Attributes:
        name: What was measured, such as 'FID'.
        value: Its value.
        extractor: Name of the extractor, with the checksum of its weights.
        resize: How images were resized for it.
        n_real: Number of real images, or crops of them; None where a file of statistics does not say it.
        n_fake: The same, of the generated ones.
        plan: Protocol of the crops and its settings, where crops were measured.
        plan_sha256: Checksum of the plan: which crops they were.
        interval: Lower and upper end of the interval, where there is one.
        confidence: Share of the interval, such as 0.95.
        note: What a reader has to know besides.
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
                raise FigureError(f"{self.name}: {getattr(self, name)} is no figure; its {name} has to be finite")
            # NumPy's own kinds cannot be written as JSON
            plain = tuple(map(float, numbers))
            object.__setattr__(self, name, plain if name == "interval" else plain[0])

    def __str__(self) -> str:
        """One line: value, interval and what they are of."""
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

    def __lt__(self, other: "Figure") -> bool:
        self.check_comparable(other)
        return self.value < other.value

    def __sub__(self, other: "Figure") -> float:
        self.check_comparable(other)
        return self.value - other.value

    def check_comparable(self, other: "Figure") -> None:
        """Raises a FigureError that names what differs, where two figures mean different things."""
        for field in ("name", "extractor", "resize", "plan"):
            mine, its = getattr(self, field), getattr(other, field)
            if mine != its:
                raise FigureError(f"figures of different {field} cannot be compared: {mine} and {its}")

    def to_json(self) -> str:
        """Returns it as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Figure":
        """Reads what `to_json` wrote.

        Raises:
            FigureError: It is no such object.
        """
        try:
            found = json.loads(text)
            if found.get("interval") is not None:
                low, high = found["interval"]
                found["interval"] = (float(low), float(high))
            return cls(**found)
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, FigureError):
                raise
            names = ", ".join(field.name for field in fields(cls))
            raise FigureError(f"no figure: wanted a JSON object with {names}") from None


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
