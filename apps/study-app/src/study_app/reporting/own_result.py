"""A reader's own result, which the reader may see once the study is closed."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from study_app.database import StudyReader
from study_app.studies import answers_of
from study_stats import StudyError, equivalence, response_times


@dataclass(frozen=True)
class OwnResult:
    """A reader's own result on all versions together.

    Attributes:
        count: Number of answers.
        correct: Number of correct answers.
        p: Share of synthetic images taken for real; for single images, the mean of that and of the share of real images
            taken for synthetic. NaN if it is not defined.
        median_seconds: Median response time, s; NaN if no answer has one.
    """

    count: int
    correct: int
    p: float
    median_seconds: float


def own_result(session: Session, reader: StudyReader) -> OwnResult:
    """Computes a reader's result from the reader's answers alone."""
    answers = answers_of(session, reader.study)
    own = type(answers)(answers.frame[answers.frame["reader"] == reader.user.name])
    median = float(response_times(own).frame["median"].iloc[-1]) if len(own) else float("nan")
    try:
        p = equivalence(own, margin=reader.study.margin).total.p
    except StudyError:  # no answers or, for single images, none on real or none on synthetic ones
        p = float("nan")
    return OwnResult(len(own), int(own.answers["correct"].sum()), p, median)
