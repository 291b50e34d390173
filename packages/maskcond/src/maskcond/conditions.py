"""What is told of an image beside its mask, tissue, disease, clinical numbers, as one embedding."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from maskcond.errors import ConditionError

Given: TypeAlias = Mapping[str, str | float | None]
"""Values by the name of their condition; what is None or left out is not given."""
Embedding: TypeAlias = NDArray[np.float32]
"""(D,) float32."""


@dataclass(frozen=True)
class Category:
    """A condition that is one of several values: an entry for 'not given', then one for each value.

    Raises:
        ConditionError: There is no value, or one is there twice.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ConditionError(f"{self.name}: wanted different values, at least one, got {list(self.values)}")

    @property
    def width(self) -> int:
        """Its entries in an embedding."""
        return 1 + len(self.values)

    def encode(self, value: str | float | None) -> list[float]:
        """Its entries for a value: a single 1.

        Raises:
            ConditionError: The value is not known; the nearest is named.
        """
        if value is not None and value not in self.values:
            near = difflib.get_close_matches(str(value), self.values, n=1, cutoff=0.0)[0]
            raise ConditionError(f"unknown {self.name} '{value}'; did you mean '{near}'?")
        return [float(value == known) for known in (None, *self.values)]

    def decode(self, entries: Embedding) -> str | None:
        """The value that entries stand for."""
        return (None, *self.values)[int(entries.argmax())]


@dataclass(frozen=True)
class Number:
    """A condition that is a number: an entry for 'not given', one for 'given', and the number, scaled.

    Args:
        name: Its name.
        centre: The number that is scaled to 0.
        scale: The distance from there that is scaled to 1.

    Raises:
        ConditionError: The centre is not finite, or the scale not positive.
    """

    name: str
    centre: float
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.scale) and self.scale > 0):
            raise ConditionError(f"{self.name}: wanted a centre and a positive scale, got {self.centre}, {self.scale}")

    @classmethod
    def of(cls, name: str, values: Iterable[float]) -> "Number":
        """A number scaled to mean 0 and standard deviation 1 over the values of a training set.

        Raises:
            ConditionError: There are not two different values, or one is not finite.
        """
        found = np.fromiter(values, np.float64)
        if found.size < 2 or not np.isfinite(found).all() or found.min() == found.max():
            raise ConditionError(f"{name}: wanted finite values, at least two different ones")
        return cls(name, float(found.mean()), float(found.std()))

    @property
    def width(self) -> int:
        """Its entries in an embedding."""
        return 3

    def encode(self, value: str | float | None) -> list[float]:
        """Its entries for a value.

        Raises:
            ConditionError: The value is not a finite number.
        """
        if value is None:
            return [1.0, 0.0, 0.0]
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ConditionError(f"wanted a number as {self.name}, got '{value}'")
        return [0.0, 1.0, (float(value) - self.centre) / self.scale]

    def decode(self, entries: Embedding) -> float | None:
        """The value that entries stand for."""
        return None if entries[0] > entries[1] else self.centre + self.scale * float(entries[2])


@dataclass(frozen=True)
class Conditions:
    """All conditions that a network is trained with, and how they become an embedding.

    That a condition is not given has an entry of its own. So no embedding is all zeros, the first value of a category
    is not taken for 'none', and a network can be asked for an image of any tissue.

    Raises:
        ConditionError: There is no condition, or two share a name.
    """

    parts: tuple[Category | Number, ...]

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) < len(names):
            raise ConditionError(f"wanted conditions of different names, at least one, got {names}")

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return sum(part.width for part in self.parts)

    def encode(self, given: Given) -> Embedding:
        """Makes the embedding (D,) of values; those of conditions left out are not given.

        Raises:
            ConditionError: A condition or a value is not known.
        """
        for name in given:
            self._part(name)
        return np.array([entry for part in self.parts for entry in part.encode(given.get(part.name))], np.float32)

    def decode(self, embedding: Embedding) -> dict[str, str | float | None]:
        """The value of every condition in an embedding; numbers to the precision of float32.

        Raises:
            ConditionError: The embedding has another length.
        """
        if embedding.shape != (self.width,):
            raise ConditionError(f"wanted an embedding of shape ({self.width},), got {embedding.shape}")
        ends = np.cumsum([part.width for part in self.parts])
        entries = np.split(embedding, ends[:-1])
        return {part.name: part.decode(own) for part, own in zip(self.parts, entries, strict=True)}

    def each(self, name: str, given: Given | None = None) -> Iterator[dict[str, str | float | None]]:
        """Values for one mask drawn as any value of a category, such as every tissue; the others stay as given.

        Raises:
            ConditionError: No category has this name.
        """
        part = self._part(name)
        if not isinstance(part, Category):
            raise ConditionError(f"{name} is a number; only a category has values to go through")
        return ({**(given or {}), name: value} for value in part.values)

    def plain(self) -> list[dict[str, Any]]:
        """The conditions as plain values, such as TOML holds: an array of tables."""
        return [
            {"name": part.name, "values": list(part.values)}
            if isinstance(part, Category)
            else {"name": part.name, "centre": part.centre, "scale": part.scale}
            for part in self.parts
        ]

    @classmethod
    def from_plain(cls, tables: Iterable[Mapping[str, Any]]) -> "Conditions":
        """Makes conditions of what `plain` gave.

        Raises:
            ConditionError: A table has other keys or other kinds of values.
        """
        return cls(tuple(_part_from(table) for table in tables))

    def _part(self, name: str) -> Category | Number:
        for part in self.parts:
            if part.name == name:
                return part
        raise ConditionError(f"unknown condition '{name}'; known are {', '.join(part.name for part in self.parts)}")


def _part_from(table: Mapping[str, Any]) -> Category | Number:
    match dict(table):
        case {"name": str(name), "values": [*values], **rest} if not rest and all(isinstance(v, str) for v in values):
            return Category(name, tuple(values))
        case {"name": str(name), "centre": float() | int() as centre, "scale": float() | int() as scale, **rest} if (
            not rest
        ):
            return Number(name, float(centre), float(scale))
    raise ConditionError(f"wanted a condition with name and values, or name, centre and scale, got {dict(table)}")


KUMAR_CONDITIONS = Conditions(
    (
        Category("tissue", ("Bladder", "Breast", "Colon", "Kidney", "Liver", "Prostate", "Stomach")),
        Category(
            "disease",
            (
                "Bladder Urothelial Carcinoma",
                "Breast invasive carcinoma",
                "Colon adenocarcinoma",
                "Kidney renal clear cell carcinoma",
                "Kidney renal papillary cell carcinoma",
                "Lung adenocarcinoma",
                "Lung squamous cell carcinoma",
                "Prostate adenocarcinoma",
                "Stomach adenocarcinoma",
            ),
        ),
    )
)
"""The tissue types and diseases of the KUMAR images, as published."""
