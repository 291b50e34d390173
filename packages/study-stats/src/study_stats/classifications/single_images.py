"""Classifications of single images: a reader sees one image and says whether it is real."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias

import pandas as pd

from study_stats.classifications.answer_table import AnswerTable, ReaderAnswer
from study_stats.classifications.pairs import Classifications
from study_stats.errors import StudyError


@dataclass(frozen=True)
class SingleClassification(ReaderAnswer):
    """One image shown to one reader, and the answer.

    Args:
        reader: Who answered.
        image: Name of the image.
        is_real: Whether the image is real.
        called_real: Whether the reader called it real.
        time_shown: When the image was shown, with its time zone.
        time_answered: When the reader answered.
        session: Name of the sitting; one reader's sessions have different names.
        model_version: The model that drew a synthetic image; empty for a real one.

    Raises:
        StudyError: A name is empty, a time is none, the answer came before the image, or a real image has a version.
    """

    may_be_empty: ClassVar[tuple[str, ...]] = ("model_version",)

    reader: str
    image: str
    is_real: bool
    called_real: bool
    time_shown: datetime
    time_answered: datetime
    session: str
    model_version: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_real and self.model_version:
            raise StudyError(f"model_version is '{self.model_version}' of a real image: wanted none")
        if not self.is_real and not self.model_version.strip():
            raise StudyError("model_version of a synthetic image is empty")


@dataclass(frozen=True, eq=False)
class SingleClassifications(AnswerTable[SingleClassification]):
    """Classifications of single images, in a DataFrame with the fields of `SingleClassification` as columns.

    Args:
        frame: The rows. Columns are put in order, the rows numbered anew, and times are in UTC.

    Raises:
        StudyError: A column is missing or unknown, rows are bad, or an image is real in one and synthetic in another.
    """

    row_type = SingleClassification
    one_answer = ("reader", "image", "time_shown")
    shown = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        truths = self.frame.groupby("image")["is_real"].nunique()
        both = list(truths.index[truths > 1])
        if both:
            raise StudyError(
                f"{len(both):,} images are real in one row and synthetic in another: the first is '{both[0]}'"
            )

    def __str__(self) -> str:
        """One line: how many classifications, readers, images and versions there are."""
        images = self.frame.drop_duplicates(["image", "model_version"])["is_real"]
        return (
            f"{len(self):,} classifications: {self.frame['reader'].nunique()} readers, {images.sum():,} real and"
            f" {(~images).sum():,} synthetic images, versions {', '.join(self.versions) or 'none'}"
        )

    @property
    def answers(self) -> pd.DataFrame:
        """The classifications as `AnswerTable` wants them; readers agree where they say the same of an image."""
        frame = self.frame
        return frame[["reader", "session", "time_answered", "model_version", "image"]].assign(
            synthetic=~frame["is_real"],
            item=frame.groupby(["image", "model_version"]).ngroup(),
            answer=frame["called_real"],
            correct=frame["called_real"] == frame["is_real"],
        )


AnyClassifications: TypeAlias = Classifications | SingleClassifications
"""Of pairs or of single images."""
