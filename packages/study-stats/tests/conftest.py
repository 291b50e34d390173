from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
import pytest

from study_stats import Classification, Classifications

START = datetime(2026, 5, 4, 9, tzinfo=UTC)

FromAnswers: TypeAlias = Callable[[Mapping[str, Sequence[bool]]], Classifications]
Simulate: TypeAlias = Callable[..., Classifications]


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


@pytest.fixture(scope="session")
def from_answers() -> FromAnswers:
    return _from_answers


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    return _simulate
