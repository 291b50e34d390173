"""Counts of correct and incorrect answers by reader."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeGuard

import numpy as np
import pandas as pd

from study_stats.classifications.pairs import Classifications
from study_stats.classifications.single_images import SingleClassifications
from study_stats.errors import StudyError, check_whole

Answers: TypeAlias = Classifications | Mapping[str, tuple[int, int]]
"""Classifications, or what a published table has: how often each reader was correct and incorrect."""


class SingleCounts(NamedTuple):
    """How many single images of each kind a reader saw, and how many of them the reader called real."""

    real: int
    real_called_real: int
    synthetic: int
    synthetic_called_real: int


SingleAnswers: TypeAlias = SingleClassifications | Mapping[str, SingleCounts]
"""Classifications of single images, or their counts by reader."""


def counts_by_reader(answers: Answers) -> dict[str, tuple[int, int]]:
    """Counts correct and incorrect classifications of each reader.

    Args:
        answers: Classifications, whose readers come in alphabetical order, or the counts themselves, in their order.

    Raises:
        StudyError: There are no classifications, or a count is missing, not finite, negative or not whole.
    """
    if isinstance(answers, SingleClassifications):
        raise StudyError("these are classifications of single images, wanted pairs: see discrimination")
    if isinstance(answers, Classifications):
        by_reader = answers.frame.groupby("reader")["correct"]
        counts = {str(reader): (int(row.sum()), int((~row).sum())) for reader, row in by_reader}
    elif not isinstance(answers, Mapping):
        raise StudyError(f"wanted classifications, or counts by reader, got {type(answers).__name__}")
    else:
        counts = {}
        for reader, pair in answers.items():
            correct, incorrect = _whole_counts(reader, pair, ("correct", "incorrect"))
            counts[reader] = (correct, incorrect)
    if not any(correct + incorrect for correct, incorrect in counts.values()):
        raise StudyError("there are no classifications")
    return counts


def is_single(answers: Answers | SingleAnswers) -> TypeGuard[SingleAnswers]:
    """Whether the answers are on single images."""
    if isinstance(answers, Mapping):
        return any(isinstance(counts, SingleCounts) for counts in answers.values())
    return isinstance(answers, SingleClassifications)


def single_answers(answers: SingleAnswers) -> pd.DataFrame:
    """Returns answers on single images, one a row: `reader`, `image`, `synthetic` and `answer` (real or not).

    `reader` is a categorical column, so that readers keep their order, and those who saw nothing their place.

    Args:
        answers: Classifications, or counts by reader, whose images are then taken to be all different.

    Raises:
        StudyError: There are no classifications, or a count is missing, not finite, negative, not whole, or larger
            than that it is out of.
    """
    if isinstance(answers, SingleClassifications):
        found = answers.answers[["reader", "image", "synthetic", "answer"]]
        readers = sorted(found["reader"].unique())
    elif isinstance(answers, Mapping):
        tables = [_expanded(reader, counts) for reader, counts in answers.items()]
        found = pd.concat(tables) if tables else pd.DataFrame({"reader": []})
        found["image"] = np.arange(len(found))
        readers = list(answers)
    else:
        raise StudyError("these are classifications of pairs, wanted single images: see realism")
    if not len(found):
        raise StudyError("there are no classifications")
    return found.assign(reader=pd.Categorical(found["reader"], readers))


def _whole_counts(reader: object, counts: object, columns: Sequence[str]) -> list[int]:
    """The counts of a reader as whole numbers, one a column.

    Raises:
        StudyError: The reader's name is missing or no text, or one of the counts is missing, no number, not whole or
            negative.
    """
    if reader is None or reader is pd.NA or reader != reader:  # NaN differs from itself
        raise StudyError(f"a reader is called {reader}: give each a name")
    if not isinstance(reader, str):
        raise StudyError(f"a reader is called {reader!r}, which is no text: give names such as '{reader}'")
    if not isinstance(counts, Sequence | np.ndarray) or isinstance(counts, str) or len(counts) != len(columns):
        raise StudyError(f"reader '{reader}' has the counts {counts}: wanted whole numbers, {', '.join(columns)}")
    return [check_whole(f"reader '{reader}': {name}", count) for name, count in zip(columns, counts, strict=True)]


def _expanded(reader: str, counts: SingleCounts) -> pd.DataFrame:
    real, real_called_real, synthetic, synthetic_called_real = _whole_counts(reader, counts, SingleCounts._fields)
    if real_called_real > real or synthetic_called_real > synthetic:
        raise StudyError(f"reader '{reader}' called more images real than there are: {tuple(counts)}")
    numbers = [real_called_real, real - real_called_real, synthetic_called_real, synthetic - synthetic_called_real]
    return pd.DataFrame(
        {
            "reader": reader,
            "synthetic": np.repeat([False, False, True, True], numbers),
            "answer": np.repeat([True, False, True, False], numbers),
        }
    )
