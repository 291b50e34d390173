"""Classifications: what a reader saw and which of two images the reader took for the real one."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from study_stats.classifications.answer_table import AnswerTable, ReaderAnswer
from study_stats.errors import StudyError


@dataclass(frozen=True)
class Classification(ReaderAnswer):
    """One pair of images shown to one reader, and the answer.

    Args:
        reader: Who answered.
        real_image: Name of the real image of the pair.
        synthetic_image: Name of the synthetic one.
        side: Where the real image was shown, 'left' or 'right'.
        time_shown: When the pair was shown, with its time zone.
        time_answered: When the reader answered.
        correct: Whether the reader chose the real image.
        session: Name of the sitting; one reader's sessions have different names.
        model_version: The model that drew the synthetic image.

    Raises:
        StudyError: A name is empty, a side or time is none, or the answer came before the pair.
    """

    reader: str
    real_image: str
    synthetic_image: str
    side: str
    time_shown: datetime
    time_answered: datetime
    correct: bool
    session: str
    model_version: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.real_image == self.synthetic_image:
            raise StudyError(f"real_image and synthetic_image are the same: '{self.real_image}'")
        if self.side not in ("left", "right"):
            raise StudyError(f"side is '{self.side}', wanted 'left' or 'right'")


@dataclass(frozen=True, eq=False)
class Classifications(AnswerTable[Classification]):
    """Classifications, one a row, in a DataFrame with the fields of `Classification` as columns; times are in UTC.

    Args:
        frame: The rows. Columns are put in order, and the rows numbered anew.

    Raises:
        StudyError: A column is missing or unknown, or rows are bad: the message counts them and tells of the first.
    """

    row_type = Classification
    one_answer = ("reader", "real_image", "synthetic_image", "time_shown")
    shown = "pair"

    def __str__(self) -> str:
        """One line: how many classifications, readers, images and versions there are."""
        readers, images = self.frame["reader"].nunique(), self.frame["synthetic_image"].nunique()
        versions = ", ".join(self.versions) or "none"
        return f"{len(self):,} classifications: {readers} readers, {images:,} synthetic images, versions {versions}"

    @property
    def answers(self) -> pd.DataFrame:
        """The classifications as `AnswerTable` wants them; readers agree where they are correct on the same pairs."""
        frame = self.frame
        return frame[["reader", "session", "time_answered", "model_version", "correct"]].assign(
            image=frame["synthetic_image"],
            synthetic=True,
            item=frame.groupby(["real_image", "synthetic_image", "model_version"]).ngroup(),
            answer=frame["correct"],
        )
