"""Facts of a study for its report: the question, the readers and the images."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from study_app.database import Answer, Image, Item, Showing, Study, StudyReader, User
from study_app.studies import ReaderProgress, study_progress


@dataclass(frozen=True)
class StudyFacts:
    """A study without its answers.

    Attributes:
        name: Name of the study.
        title: Title that readers see.
        kind: 'pairs', 'single' or 'slides'.
        question: Question to the readers.
        state: 'draft', 'open' or 'closed'.
        seed: Seed of the pairs and their order.
        size_px: Side of the pictures, px.
        margin: Largest |p - 0.5| that counts as guessing, fixed before the study was opened.
        created: Time at which the study was made.
        opened: Time at which it was first opened.
        closed: Time at which it was last closed; None if it is open.
        real_images: Number of real images.
        synthetic_images: Number of synthetic images of each version.
        items: Number of pairs, or of single images, shown to readers.
        items_of: Number of these that show an image of each version.
        readers: Progress of each reader, with the names of the report.
        undone: Number of undone answers.
    """

    name: str
    title: str
    kind: str
    question: str
    state: str
    seed: int
    size_px: int
    margin: float
    created: datetime
    opened: datetime | None
    closed: datetime | None
    real_images: int
    synthetic_images: dict[str, int]
    items: int
    items_of: dict[str, int]
    readers: tuple[ReaderProgress, ...]
    undone: int

    @property
    def versions(self) -> list[str]:
        """The versions of the model, in alphabetical order."""
        return list(self.synthetic_images)

    @property
    def thing(self) -> str:
        """The unit that readers see at a time."""
        return "image" if self.kind == "single" else "pair"

    @property
    def answered(self) -> int:
        """Number of answers."""
        return sum(reader.done for reader in self.readers)


def study_facts(session: Session, study: Study, labels: dict[str, str]) -> StudyFacts:
    """Gathers the facts of a study.

    Args:
        session: The session.
        study: The study.
        labels: Name of each reader in the report; see `reader_labels`.
    """
    images = Counter(session.scalars(select(Image.version).where(Image.study_id == study.id)))
    items = session.scalars(
        select(Image.version)
        .select_from(Item)
        .outerjoin(Image, Image.id == Item.synthetic_image_id)
        .where(Item.study_id == study.id)
    ).all()
    undone = session.scalar(
        select(func.count(Answer.id))
        .join(Answer.showing)
        .join(Showing.item)
        .where(Item.study_id == study.id, Answer.live.is_(None))
    )
    readers = [replace(reader, reader=labels[reader.reader]) for reader in study_progress(session, study)]
    return StudyFacts(
        name=study.name,
        title=study.title,
        kind=str(study.kind),
        question=study.question,
        state=str(study.state),
        seed=study.seed,
        size_px=study.size_px,
        margin=study.margin,
        created=study.created,
        opened=study.opened,
        closed=study.closed,
        real_images=images[None],
        synthetic_images=_by_version(images),
        items=len(items),
        items_of=_by_version(Counter(items)),
        readers=tuple(sorted(readers, key=lambda reader: reader.reader)),
        undone=undone or 0,
    )


def reader_labels(session: Session, study: Study, *, named: bool) -> dict[str, str]:
    """Labels of the readers in a report: their names, or 'reader 1' and so on.

    The numbers follow the readers' secret seeds, so they reveal neither names nor the order of joining, and are the
    same in every report of a study.
    """
    readers = session.scalars(
        select(User.name).join(StudyReader).where(StudyReader.study_id == study.id).order_by(StudyReader.seed, User.id)
    ).all()
    digits = len(str(len(readers)))  # so that alphabetical order is the order of the numbers
    return {name: name if named else f"reader {number:0{digits}}" for number, name in enumerate(readers, 1)}


def _by_version(counts: Counter[str | None]) -> dict[str, int]:
    return dict(sorted((version, count) for version, count in counts.items() if version is not None))
