"""Conditioning besides the mask (tissue, disease, clinical numbers) as one embedding."""

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
"""Values by the names of conditions; a condition that is None or missing is not given."""
Embedding: TypeAlias = NDArray[np.float32]
"""(D,) float32."""


@dataclass(frozen=True)
class Category:
    """A categorical condition: one entry for 'not given', then one for each value.

    Raises:
        ConditionError: There are no values, or a value is repeated.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ConditionError(f"{self.name}: wanted different values, at least one, got {list(self.values)}")

    @property
    def width(self) -> int:
        """Number of entries in an embedding."""
        return 1 + len(self.values)

    def encode(self, value: str | float | None) -> list[float]:
        """Returns the entries for a value: one 1, the rest 0.

        Raises:
            ConditionError: The value is unknown; the message names the nearest known one.
        """
        if value is not None and value not in self.values:
            near = difflib.get_close_matches(str(value), self.values, n=1, cutoff=0.0)[0]
            raise ConditionError(f"unknown {self.name} '{value}'; did you mean '{near}'?")
        return [float(value == known) for known in (None, *self.values)]

    def decode(self, entries: Embedding) -> str | None:
        """Returns the value that the entries encode."""
        return (None, *self.values)[int(entries.argmax())]


@dataclass(frozen=True)
class Number:
    """A numerical condition: an entry for 'not given', one for 'given', and the scaled number.

    Args:
        name: Its name.
        centre: Value that is scaled to 0.
        scale: Difference from the centre that is scaled to 1.

    Raises:
        ConditionError: The centre is not finite, or the scale is not positive.
    """

    name: str
    centre: float
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.scale) and self.scale > 0):
            raise ConditionError(f"{self.name}: wanted a centre and a positive scale, got {self.centre}, {self.scale}")

    @classmethod
    def of(cls, name: str, values: Iterable[float]) -> "Number":
        """Scales a number to mean 0 and standard deviation 1 over the values of a training set.

        Raises:
            ConditionError: There are fewer than two different values, or a value is not finite.
        """
        numbers = np.fromiter(values, np.float64)
        if numbers.size < 2 or not np.isfinite(numbers).all() or numbers.min() == numbers.max():
            raise ConditionError(f"{name}: wanted finite values, at least two different ones")
        return cls(name, float(numbers.mean()), float(numbers.std()))

    @property
    def width(self) -> int:
        """Number of entries in an embedding."""
        return 3

    def encode(self, value: str | float | None) -> list[float]:
        """Returns the entries for a value.

        Raises:
            ConditionError: The value is not a finite number.
        """
        if value is None:
            return [1.0, 0.0, 0.0]
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ConditionError(f"wanted a number as {self.name}, got '{value}'")
        return [0.0, 1.0, (float(value) - self.centre) / self.scale]

    def decode(self, entries: Embedding) -> float | None:
        """Returns the value that the entries encode."""
        return None if entries[0] > entries[1] else self.centre + self.scale * float(entries[2])


@dataclass(frozen=True)
class ConditionSet:
    """All conditions that a network is trained with, and their encoding as an embedding.

    'Not given' has an entry of its own for each condition. So no embedding is all zeros, the first value of a category
    is not mistaken for 'none', and a network can sample images of any tissue.

    Raises:
        ConditionError: There are no conditions, or two have the same name.
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
        """Returns the embedding (D,) of values; conditions that are missing count as not given.

        Raises:
            ConditionError: A condition or a value is unknown.
        """
        for name in given:
            self._part(name)
        return np.array([entry for part in self.parts for entry in part.encode(given.get(part.name))], np.float32)

    def decode(self, embedding: Embedding) -> dict[str, str | float | None]:
        """Returns the value of every condition in an embedding; numbers have float32 precision.

        Raises:
            ConditionError: The embedding has the wrong length.
        """
        if embedding.shape != (self.width,):
            raise ConditionError(f"wanted an embedding of shape ({self.width},), got {embedding.shape}")
        ends = np.cumsum([part.width for part in self.parts])
        entries = np.split(embedding, ends[:-1])
        return {part.name: part.decode(own) for part, own in zip(self.parts, entries, strict=True)}

    def each(self, name: str, given: Given | None = None) -> Iterator[dict[str, str | float | None]]:
        """Iterates over the values of a category, such as every tissue; the other conditions stay as given.

        Raises:
            ConditionError: There is no category of this name.
        """
        part = self._part(name)
        if not isinstance(part, Category):
            raise ConditionError(f"{name} is a number; only a category has values to iterate over")
        return ({**(given or {}), name: value} for value in part.values)

    def plain(self) -> list[dict[str, Any]]:
        """Returns the conditions as plain values for TOML: an array of tables."""
        return [
            {"name": part.name, "values": list(part.values)}
            if isinstance(part, Category)
            else {"name": part.name, "centre": part.centre, "scale": part.scale}
            for part in self.parts
        ]

    @classmethod
    def from_plain(cls, tables: Iterable[Mapping[str, Any]]) -> "ConditionSet":
        """Makes conditions from the tables of `plain`.

        Raises:
            ConditionError: A table has wrong keys or wrong kinds of values.
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


KUMAR_CONDITIONS = ConditionSet(
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

KUMAR_COLOURS = ConditionSet(
    (
        *KUMAR_CONDITIONS.parts,
        Number("red_mean", centre=0.38, scale=0.12),
        Number("red_std", centre=0.29, scale=0.075),
        Number("green_mean", centre=0.85, scale=0.23),
        Number("green_std", centre=0.42, scale=0.085),
        Number("blue_mean", centre=0.51, scale=0.155),
        Number("blue_std", centre=0.23, scale=0.05),
    )
)
"""The same, and the `colour_statistics` of the image, scaled by their mean and standard deviation over the 16 training
images."""
