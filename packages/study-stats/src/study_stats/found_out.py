"""Which synthetic images readers see through."""

from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from study_stats.classifications import Classifications
from study_stats.errors import StudyError, check_share
from study_stats.intervals import IntervalMethod, holm, share_interval, together
from study_stats.printing import interval_text, p_value_text, table_text

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class FoundOut:
    """Synthetic images, those found out most first.

    Attributes:
        frame: One synthetic image a row (the index), with `count` of classifications, `found_out` (how often the reader
            was correct), `share` of them, `low` and `high` of its interval, `p_value` of the exact test that the image
            is found out no more than by guessing, and `p_value_corrected` by Holm for all images.
        confidence: That of the intervals, which cover all images' shares at once.
        significant: Number of images whose corrected p-value is below 1 - confidence.
    """

    frame: pd.DataFrame
    confidence: float
    significant: int

    def __str__(self) -> str:
        """The first ten images, and what the tests say of all."""
        header = ["image", "found out", "of", "share", f"{100 * self.confidence:.4g}% interval", "p-value", "Holm"]
        rows = [
            [
                str(image),
                f"{row['found_out']}",
                f"{row['count']}",
                f"{row['share']:.4f}",
                interval_text((row["low"], row["high"])),
                p_value_text(row["p_value"]),
                p_value_text(row["p_value_corrected"]),
            ]
            for image, row in self.frame.head(_SHOWN).to_dict("index").items()
        ]
        level = 1 - self.confidence
        return (
            f"{table_text(header, rows)}\n"
            f"{self.significant:,} of {len(self.frame):,} images are found out more often than by guessing,"
            f" at level {level:.2g} for all of them together"
        )


def images_found_out(
    classifications: Classifications, *, confidence: float = 0.95, method: IntervalMethod = "exact"
) -> FoundOut:
    """Ranks synthetic images by how often readers saw that they are synthetic.

    Images that few readers saw cannot stand out by a test: four readers are all correct by guessing once in sixteen
    times. The order is then where to look, and the intervals say how little is known.

    Args:
        classifications: At least one.
        confidence: That of the intervals of all images together.
        method: Of the intervals, 'exact' or 'wilson'.

    Raises:
        StudyError: There are no classifications.
    """
    check_share("confidence", confidence)
    if not len(classifications):
        raise StudyError("there are no classifications")
    answers = classifications.frame.groupby("synthetic_image")["correct"]
    frame = pd.DataFrame({"count": answers.count(), "found_out": answers.sum().astype(int)})
    frame["share"] = frame["found_out"] / frame["count"]
    each = together(confidence, len(frame))
    pairs = list(zip(frame["found_out"], frame["count"], strict=True))
    frame[["low", "high"]] = [share_interval(int(k), int(n), each, method) for k, n in pairs]
    frame["p_value"] = [float(binomtest(int(k), int(n), alternative="greater").pvalue) for k, n in pairs]
    frame["p_value_corrected"] = holm(frame["p_value"].tolist())
    # Of equal p-values, the image that was found out by more comes first.
    frame = frame.sort_values(["p_value", "share", "count"], ascending=[True, False, False], kind="stable")
    return FoundOut(frame, confidence, int((frame["p_value_corrected"] < 1 - confidence).sum()))
