"""How often each reader was right and wrong."""

from collections.abc import Mapping
from typing import TypeAlias

from study_stats.classifications import Classifications
from study_stats.errors import StudyError

Answers: TypeAlias = Classifications | Mapping[str, tuple[int, int]]
"""Classifications, or what a published table has: how often each reader was correct and incorrect."""


def counts_by_reader(answers: Answers) -> dict[str, tuple[int, int]]:
    """Counts correct and incorrect classifications of each reader.

    Args:
        answers: Classifications, whose readers come in alphabetical order, or the counts themselves, in their order.

    Raises:
        StudyError: There are no classifications, or a count is negative or not whole.
    """
    if isinstance(answers, Classifications):
        by_reader = answers.frame.groupby("reader")["correct"]
        counts = {str(reader): (int(row.sum()), int((~row).sum())) for reader, row in by_reader}
    else:
        for reader, pair in answers.items():
            if len(pair) != 2 or not all(count == int(count) >= 0 for count in pair):
                raise StudyError(
                    f"reader '{reader}' has the counts {pair}: wanted two whole numbers, correct, incorrect"
                )
        counts = {reader: (int(correct), int(incorrect)) for reader, (correct, incorrect) in answers.items()}
    if not any(correct + incorrect for correct, incorrect in counts.values()):
        raise StudyError("there are no classifications")
    return counts
