from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
import pytest

from study_stats import Classification, Classifications, SingleClassification, SingleClassifications

START = datetime(2026, 5, 4, 9, tzinfo=UTC)

FromAnswers: TypeAlias = Callable[[Mapping[str, Sequence[bool]]], Classifications]
Simulate: TypeAlias = Callable[..., Classifications]
Single: TypeAlias = Callable[..., SingleClassifications]


def _from_answers(answers: Mapping[str, Sequence[bool]]) -> Classifications:
    """Makes classifications of ten seconds each, given which are correct; all readers see the same pairs."""
    rows = []
    for reader, correct in answers.items():
        for number, right in enumerate(correct):
            shown = START + timedelta(seconds=10 * number)
            pair = (f"real {number}", f"synthetic {number}", "left" if number % 2 else "right")
            answered = shown + timedelta(seconds=10)
            rows.append(Classification(reader, *pair, shown, answered, bool(right), f"{reader}, 1", "1"))
    return Classifications.from_rows(rows)


def _simulate(
    rng: np.random.Generator,
    readers: int = 5,
    images: int = 60,
    log_odds: float = 0.0,
    reader_sd: float = 0.0,
    image_sd: float = 0.0,
) -> Classifications:
    """A study whose readers see all images; how often they are wrong varies with reader and image."""
    effects = rng.normal(0, reader_sd, (readers, 1)) + rng.normal(0, image_sd, images)
    wrong = rng.random((readers, images)) < 1 / (1 + np.exp(-log_odds - effects))
    return _from_answers({f"reader {number}": list(~row) for number, row in enumerate(wrong)})


def _single(
    real: Mapping[str, Sequence[bool]], synthetic: Mapping[str, Sequence[bool]], versions: Sequence[str] = ("1",)
) -> SingleClassifications:
    """A study of single images, given which were called real; all readers see the same, versions by turns."""
    rows = []
    for kind, answers in (("real", real), ("synthetic", synthetic)):
        for reader, called_real in answers.items():
            for number, called in enumerate(called_real):
                shown = START + timedelta(seconds=20 * number + 10 * (kind == "synthetic"))
                answered, version = shown + timedelta(seconds=10), versions[number % len(versions)]
                image = (f"{kind} {number}", kind == "real", bool(called), shown, answered, f"{reader}, 1")
                rows.append(SingleClassification(reader, *image, "" if kind == "real" else version))
    return SingleClassifications.from_rows(rows)


@pytest.fixture(scope="session")
def from_answers() -> FromAnswers:
    return _from_answers


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    return _simulate


@pytest.fixture(scope="session")
def single() -> Single:
    return _single
