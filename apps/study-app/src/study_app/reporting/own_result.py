"""The result that readers may see of their own answers once a study is closed."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from study_app.database import StudyReader
from study_app.studies import answers_of
from study_stats import StudyError, equivalence, response_times


@dataclass(frozen=True)
class OwnResult:
    """A reader's own result, of all versions together.

    Attributes:
        count: How many answers they gave.
        correct: How many of them were correct.
        p: Share of synthetic images that they took for real; of single images, the mean of that and of the share of
            real ones that they took for synthetic. NaN if there is none.
        median_seconds: Their median time; NaN if no answer has one.
    """

    count: int
    correct: int
    p: float
    median_seconds: float


def own_result(session: Session, reader: StudyReader) -> OwnResult:
    """A reader's result, of their answers alone."""
    answers = answers_of(session, reader.study)
    mine = type(answers)(answers.frame[answers.frame["reader"] == reader.user.name])
    median = float(response_times(mine).frame["median"].iloc[-1]) if len(mine) else float("nan")
    try:
        p = equivalence(mine, margin=reader.study.margin).total.p
    except StudyError:  # there are no answers or, of single images, none on one of the two kinds
        p = float("nan")
    return OwnResult(len(mine), int(mine.answers["correct"].sum()), p, median)
