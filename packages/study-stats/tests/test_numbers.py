"""Numbers that are missing or not finite are refused at every door, whatever their type, in one line."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study_stats import (
    SingleCounts,
    StudyError,
    agreement,
    classifications_for_equivalence,
    classifications_for_power,
    classifications_for_width,
    discrimination,
    equivalence,
    realism,
)

COUNTS = {"A": (3, 4), "B": (5, 2)}
NO_NUMBERS = [
    None,
    "0.5",
    pd.NA,
    pd.NaT,
    Decimal("NaN"),
    *(
        kind(value)
        for kind in (float, np.float16, np.float32, np.float64, np.longdouble)
        for value in ("nan", "inf", "-inf")
    ),
]
DOORS: list[tuple[Callable[[Any], object], str]] = [
    (lambda x: realism({"B": (1, 1), "A": (x, 3)}), "reader 'A': correct is"),
    (lambda x: realism({"A": (3, x)}), "reader 'A': incorrect is"),
    (lambda x: discrimination({"A": SingleCounts(5, 1, x, 1)}), "reader 'A': synthetic is"),
    (lambda x: discrimination({"A": SingleCounts(5, x, 5, 1)}), "reader 'A': real_called_real is"),
    (lambda x: realism(COUNTS, confidence=x), "a confidence of"),
    (lambda x: equivalence(COUNTS, margin=x), "a margin of"),
    (lambda x: equivalence(COUNTS, margin=0.1, alpha=x), "a level alpha of"),
    (lambda x: classifications_for_width(x), "a width of"),
    (lambda x: classifications_for_width(0.2, readers=x), "number of readers is"),
    (lambda x: classifications_for_power(x), "a share p of"),
    (lambda x: classifications_for_power(0.6, power=x), "a power of"),
    (lambda x: classifications_for_equivalence(x), "margin is"),
    (lambda x: classifications_for_equivalence(0.2, p=x), "share p is"),
    (lambda x: agreement(None, rng=np.random.default_rng(0), resamples=x), "number of resamples is"),  # type: ignore
]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize(("door", "words"), DOORS, ids=[words for _, words in DOORS])
def test_what_is_no_number_is_refused(door: Callable[[Any], object], words: str, number: Any) -> None:
    with pytest.raises(StudyError, match=re.escape(words)) as caught:
        door(number)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [int, float, np.int8, np.uint64, np.float16, np.float32, np.float64])
def test_whole_numbers_of_every_type_are_counts(kind: Callable[[int], Any]) -> None:
    found = realism({reader: (kind(correct), kind(incorrect)) for reader, (correct, incorrect) in COUNTS.items()})
    assert found == realism(COUNTS)
    single = discrimination({"A": SingleCounts(*map(kind, (9, 4, 8, 2)))})
    assert str(single) == str(discrimination({"A": SingleCounts(9, 4, 8, 2)}))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_settings_of_every_type_are_worked_with_in_double_precision(kind: Callable[[float], Any]) -> None:
    assert type(realism(COUNTS, confidence=kind(0.5)).confidence) is float
    assert str(equivalence(COUNTS, margin=kind(0.25))) == str(equivalence(COUNTS, margin=0.25))
    assert classifications_for_power(kind(0.75), power=kind(0.5)) == classifications_for_power(0.75, power=0.5)


@pytest.mark.parametrize("count", [2.5, np.float16(2.5), -1, np.int8(-1)])
def test_counts_are_whole_and_not_negative(count: Any) -> None:
    with pytest.raises(StudyError, match=r"reader 'A': incorrect is .* wanted a whole number of 0 or more"):
        realism({"A": (3, count)})


@pytest.mark.parametrize("counts", [None, float("nan"), 3, "34", (1, 2, 3), ()])
def test_a_reader_has_two_counts(counts: Any) -> None:
    with pytest.raises(StudyError, match=r"reader 'A' has the counts .*: wanted whole numbers, correct, incorrect"):
        realism({"A": counts})


@pytest.mark.parametrize("reader", [None, float("nan"), pd.NA])
def test_a_reader_has_a_name(reader: Any) -> None:
    with pytest.raises(StudyError, match="give each a name"):
        realism({reader: (3, 4)})


def test_readers_that_are_numbers_are_refused_before_a_table_is_printed() -> None:
    with pytest.raises(StudyError, match=r"called 1, which is no text: give names such as '1'"):
        realism({1: (3, 4)})  # type: ignore[dict-item]
    with pytest.raises(StudyError, match=r"counts by reader, got DataFrame"):
        realism(pd.DataFrame({"a": [3, 4]}))  # type: ignore[arg-type]
