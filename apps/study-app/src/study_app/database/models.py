"""The tables.

Rows that must be the only ones of their kind at a time (a reader's sitting that lasts, the answer of a showing that
counts) have a column `live` that is true, or NULL afterwards, in a unique constraint: NULLs are distinct to it.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

MARGIN = 0.1
"""Of a study that has no margin of its own."""
TOKEN_CHARACTERS = 43
"""Of `secrets.token_urlsafe(32)`."""


class UtcTime(TypeDecorator[datetime]):
    """A time with microseconds, kept in UTC; it goes in and comes out with its zone."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: D102
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: D102
        return None if value is None else value.replace(tzinfo=UTC)


class StudyKind(StrEnum):
    """The kind of a study: what a reader sees at a time, and the question about it."""

    PAIRS = "pairs"
    SINGLE = "single"
    SLIDES = "slides"


class StudyState(StrEnum):
    """Images come into a draft; readers answer while it is open."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"


class Side(StrEnum):
    """The side of an image in a pair."""

    LEFT = "left"
    RIGHT = "right"


class Choice(StrEnum):
    """A reader's choice: the side of the real image or, for a single image, its kind."""

    LEFT = "left"
    RIGHT = "right"
    REAL = "real"
    SYNTHETIC = "synthetic"


def _texts(kind: type[StrEnum]) -> Enum:
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda members: [member.value for member in members]
    )


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: dict[Any, Any] = {  # noqa: RUF012 - SQLAlchemy's own name
        datetime: UtcTime(),
        StudyKind: _texts(StudyKind),
        StudyState: _texts(StudyState),
        Side: _texts(Side),
        Choice: _texts(Choice),
    }


class User(Base):
    """Someone who can sign in: a reader, an administrator, or both."""

    __tablename__ = "user_account"  # 'user' is a word of SQL

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime]


class SignIn(Base):
    """From signing in to signing out, or to the end of its time. The token is what the cookie holds, signed."""

    __tablename__ = "sign_in"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(TOKEN_CHARACTERS), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    started: Mapped[datetime]
    last_seen: Mapped[datetime]
    ended: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class Study(Base):
    """A study: its images, the question, and the order in which all readers see them.

    Its pictures are squares of `size_px`. Those of slides are made of tiles; a pixel is `mpp` micrometres, and each
    tile is sent as `tile_bytes` bytes.

    `margin` is the largest |p - 0.5| that counts as guessing, settled before the study is opened; `results_shown` says
    whether readers see their own results once it is closed.
    """

    __tablename__ = "study"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    kind: Mapped[StudyKind]
    question: Mapped[str] = mapped_column(Text)
    state: Mapped[StudyState] = mapped_column(default=StudyState.DRAFT)
    seed: Mapped[int] = mapped_column(BigInteger)
    size_px: Mapped[int]
    mpp: Mapped[float | None]
    tile_bytes: Mapped[int | None]
    margin: Mapped[float] = mapped_column(default=MARGIN, server_default=text(str(MARGIN)))
    results_shown: Mapped[bool] = mapped_column(default=False, server_default=false())
    created: Mapped[datetime]
    opened: Mapped[datetime | None]
    closed: Mapped[datetime | None]


class StudyReader(Base):
    """A reader of a study, with the seed of the sides on which they see its real images."""

    __tablename__ = "study_reader"

    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True, index=True)
    seed: Mapped[int] = mapped_column(BigInteger)
    study: Mapped[Study] = relationship()
    user: Mapped[User] = relationship()


class Image(Base):
    """An image of a study, as it was imported. Nothing of this but the file's bytes goes to readers.

    `name` is that of the original, `version` the model that drew a synthetic one; `sha256` is of the pixels that
    readers see (of a slide, when they see all of it), `file` where they are, below the folder of images. A crop, and a
    slide, has its source, its place there and its field.
    """

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("study_id", "sha256"),
        CheckConstraint("(version IS NULL) = is_real", name="only_synthetic_has_version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id))
    is_real: Mapped[bool]
    version: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(512))
    sha256: Mapped[str] = mapped_column(String(64))
    file: Mapped[str] = mapped_column(String(255))
    width: Mapped[int]
    height: Mapped[int]
    tissue_share: Mapped[float | None]
    source: Mapped[str | None] = mapped_column(String(512))
    x: Mapped[float | None]
    y: Mapped[float | None]
    field_um: Mapped[float | None]


class StoredCropPlan(Base):
    """The plan by which slides of a study, real ones and those of one version, are cut into crops.

    `file` is where it is, below the folder of images; a pixel of the plan is `mpp` micrometres.
    """

    __tablename__ = "crop_plan"
    __table_args__ = (UniqueConstraint("study_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id))
    version: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    file: Mapped[str] = mapped_column(String(255))
    mpp: Mapped[float]


class CropPair(Base):
    """The real and the synthetic image of one crop of a plan: they have the same scale, and are shown together."""

    __tablename__ = "crop_pair"

    plan_id: Mapped[int] = mapped_column(ForeignKey(StoredCropPlan.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    real_image_id: Mapped[int] = mapped_column(ForeignKey(Image.id), unique=True)
    synthetic_image_id: Mapped[int] = mapped_column(ForeignKey(Image.id), unique=True)


class Item(Base):
    """A pair or a single image, shown at a time. All readers see a study's items in the order of positions."""

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("study_id", "position"),
        CheckConstraint("real_image_id IS NOT NULL OR synthetic_image_id IS NOT NULL", name="has_an_image"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id))
    position: Mapped[int]
    real_image_id: Mapped[int | None] = mapped_column(ForeignKey(Image.id), unique=True)
    synthetic_image_id: Mapped[int | None] = mapped_column(ForeignKey(Image.id), unique=True)
    real_image: Mapped[Image | None] = relationship(foreign_keys=real_image_id)
    synthetic_image: Mapped[Image | None] = relationship(foreign_keys=synthetic_image_id)


class Showing(Base):
    """An item before one reader's eyes, once. Pages know it, and its pictures, by random tokens alone.

    `token` stands for the question as it is asked now: after an undo it is another. A single image is the left picture;
    it has no real side.
    """

    __tablename__ = "showing"
    __table_args__ = (UniqueConstraint("user_id", "item_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(TOKEN_CHARACTERS), unique=True)
    item_id: Mapped[int] = mapped_column(ForeignKey(Item.id), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    real_side: Mapped[Side | None]
    left_token: Mapped[str] = mapped_column(String(TOKEN_CHARACTERS), unique=True)
    right_token: Mapped[str | None] = mapped_column(String(TOKEN_CHARACTERS), unique=True)
    created: Mapped[datetime]
    first_shown: Mapped[datetime | None]
    item: Mapped[Item] = relationship()


class Sitting(Base):
    """A reader at work on a study, from the first pair to a pause, to signing out, or to a long idle time."""

    __tablename__ = "sitting"
    __table_args__ = (
        UniqueConstraint("study_id", "user_id", "live"),
        CheckConstraint("(live IS NULL) = (ended IS NOT NULL)", name="lives_until_it_ended"),
        CheckConstraint("live IS NULL OR live", name="live_or_null"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id))
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    started: Mapped[datetime]
    last_seen: Mapped[datetime]
    ended: Mapped[datetime | None]
    live: Mapped[bool | None] = mapped_column(default=True)


class Answer(Base):
    """A reader's answer. An undone answer stays, and counts no longer.

    `token` is that of the showing when it was answered, so the same answer sent twice is one.
    """

    __tablename__ = "answer"
    __table_args__ = (
        UniqueConstraint("showing_id", "live"),
        CheckConstraint("(live IS NULL) = (undone IS NOT NULL)", name="lives_until_undone"),
        CheckConstraint("live IS NULL OR live", name="live_or_null"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(TOKEN_CHARACTERS), unique=True)
    showing_id: Mapped[int] = mapped_column(ForeignKey(Showing.id))
    sitting_id: Mapped[int] = mapped_column(ForeignKey(Sitting.id), index=True)
    chosen: Mapped[Choice]
    correct: Mapped[bool]
    answered: Mapped[datetime]
    undone: Mapped[datetime | None]
    live: Mapped[bool | None] = mapped_column(default=True)
    showing: Mapped[Showing] = relationship()
    sitting: Mapped[Sitting] = relationship()
