"""Making studies, and looking them up by name."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.database import Study, StudyKind, StudyState
from study_app.database.models import MARGIN
from study_app.studies.errors import NoStudyError

QUESTIONS = {
    StudyKind.PAIRS: "Which image is real?",
    StudyKind.SINGLE: "Is this image real or synthetic?",
    StudyKind.SLIDES: "Which slide is real?",
}
"""The question to readers, if a study has none of its own."""
MAX_SIZE_PX = {StudyKind.PAIRS: 4096, StudyKind.SINGLE: 4096, StudyKind.SLIDES: 2**20}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


@dataclass(frozen=True)
class NewStudy:
    """The properties of a new study.

    Args:
        name: Its name in addresses: small letters, digits and hyphens.
        size_px: Side of the square pictures that readers see, or of the field of each slide.
        kind: Pairs, single images, or pairs of slides.
        title: What readers read; the name, if it is empty.
        question: What they are asked; that of the kind, if it is empty.
        seed: The order of the images, and the pairs, are drawn from it; a random one, if there is none.
        mpp: Of slides, micrometres a pixel.
        margin: Largest |p - 0.5| that counts as guessing, for the test of equivalence.

    Raises:
        UsageError: A value makes no sense.
    """

    name: str
    size_px: int
    kind: StudyKind = StudyKind.PAIRS
    title: str = ""
    question: str = ""
    seed: int | None = None
    mpp: float | None = None
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"'{self.name}' cannot be a study's name: wanted small letters, digits and hyphens, 64 at most"
            )
        if not 1 <= self.size_px <= MAX_SIZE_PX[self.kind]:
            raise UsageError(f"pictures of {self.size_px} px: wanted 1 to {MAX_SIZE_PX[self.kind]}")
        if len(self.title) > 200:
            raise UsageError(f"the title has {len(self.title)} characters, wanted 200 at most")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise UsageError(f"a seed of {self.seed}: wanted 0 or more, and less than 2^63")
        if not 0 < self.margin < 0.5:
            raise UsageError(f"a margin of {self.margin}: it lies between 0 and 0.5")


def create_study(session: Session, new: NewStudy, *, now: datetime) -> Study:
    """Makes a study, a draft that waits for its images.

    Raises:
        UsageError: The name is taken.
    """
    if session.scalar(select(Study.id).where(Study.name == new.name)) is not None:
        raise UsageError(f"there is a study '{new.name}' already")
    study = Study(
        name=new.name,
        title=new.title or new.name,
        kind=new.kind,
        question=new.question or QUESTIONS[new.kind],
        seed=secrets.randbits(63) if new.seed is None else new.seed,
        size_px=new.size_px,
        mpp=new.mpp,
        margin=new.margin,
        created=now,
    )
    session.add(study)
    session.flush()
    return study


def change_study(study: Study, *, title: str, question: str, margin: float, results_shown: bool) -> None:
    """Changes what readers read and see. The margin and the question are settled when the study is opened.

    Args:
        study: The study, locked.
        title: What readers read; the name, if it is empty.
        question: What they are asked; that of the kind, if it is empty.
        margin: Largest |p - 0.5| that counts as guessing.
        results_shown: Whether readers see their own results once the study is closed.

    Raises:
        UsageError: A value makes no sense, or the study has been opened and the question or the margin is another.
    """
    new = NewStudy(study.name, study.size_px, study.kind, title, question, study.seed, study.mpp, margin)
    settled = (new.question or QUESTIONS[study.kind], new.margin)
    if study.state is not StudyState.DRAFT and settled != (study.question, study.margin):
        raise UsageError(f"the study '{study.name}' has been opened: its question and its margin stay as they are")
    study.title = new.title or study.name
    study.question, study.margin = settled
    study.results_shown = results_shown


def study_named(session: Session, name: str, *, lock: bool = False) -> Study:
    """Finds a study.

    Args:
        session: The session.
        name: The study's name.
        lock: Keeps others from changing the study until the transaction ends.

    Raises:
        NoStudyError: There is none of that name.
    """
    query = select(Study).where(Study.name == name)
    study = session.scalar(query.with_for_update() if lock else query)
    if study is None:
        names = ", ".join(session.scalars(select(Study.name).order_by(Study.name))) or "none yet"
        raise NoStudyError(f"there is no study '{name}': there are {names}")
    return study
