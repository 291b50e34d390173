"""The answers of a study, as `study_stats` takes them.

Images are named by their side and their original name, such as real/a.png and 2026-05/a.png.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from run_folder import UsageError
from study_app.database import Answer, Choice, Image, Item, Showing, Study, StudyKind, User

if TYPE_CHECKING:
    from study_stats import Classifications, SingleClassifications

_REAL = aliased(Image)
_SYNTHETIC = aliased(Image)


def answers_of(session: Session, study: Study) -> "Classifications | SingleClassifications":
    """The answers of a study without undone ones, in the order of their times."""
    if study.kind is StudyKind.SINGLE:
        return single_classifications(session, study)
    return classifications(session, study)


def classifications(session: Session, study: Study) -> "Classifications":
    """The answers of a study of pairs.

    Raises:
        UsageError: The study shows single images.
    """
    from study_stats import Classification, Classifications

    if study.kind is StudyKind.SINGLE:
        raise UsageError(f"the study '{study.name}' shows single images, and no pairs")
    return Classifications.from_rows(
        Classification(
            reader=reader,
            real_image=_name(real),
            synthetic_image=_name(synthetic),
            side=str(showing.real_side),
            time_shown=showing.first_shown or showing.created,
            time_answered=answer.answered,
            correct=answer.correct,
            session=str(answer.sitting_id),
            model_version=str(synthetic.version),
        )
        for reader, real, synthetic, showing, answer in session.execute(_answers(study))
    )


def single_classifications(session: Session, study: Study) -> "SingleClassifications":
    """The answers of a study of single images.

    Raises:
        UsageError: The study shows pairs.
    """
    from study_stats import SingleClassification, SingleClassifications

    if study.kind is not StudyKind.SINGLE:
        raise UsageError(f"the study '{study.name}' shows pairs, and no single images")
    return SingleClassifications.from_rows(
        SingleClassification(
            reader=reader,
            image=_name(real or synthetic),
            is_real=real is not None,
            called_real=answer.chosen is Choice.REAL,
            time_shown=showing.first_shown or showing.created,
            time_answered=answer.answered,
            session=str(answer.sitting_id),
            model_version=(synthetic.version or "") if real is None else "",
        )
        for reader, real, synthetic, showing, answer in session.execute(_answers(study))
    )


def _answers(study: Study) -> "Select[str, Image, Image, Showing, Answer]":
    return (
        select(User.name, _REAL, _SYNTHETIC, Showing, Answer)
        .select_from(Answer)
        .join(Answer.showing)
        .join(Showing.item)
        .join(User, User.id == Showing.user_id)
        .outerjoin(_REAL, _REAL.id == Item.real_image_id)
        .outerjoin(_SYNTHETIC, _SYNTHETIC.id == Item.synthetic_image_id)
        .where(Item.study_id == study.id, Answer.live.is_(True))
        .order_by(Answer.answered, Answer.id)
    )


def _name(image: Image) -> str:
    return f"{image.version or 'real'}/{image.name}"
