"""Synthetic images that readers recognise as synthetic."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom

from study_stats.classifications.single_images import AnyClassifications, SingleClassifications
from study_stats.errors import StudyError, check_share
from study_stats.inference.crossed import crossed
from study_stats.inference.intervals import IntervalMethod, holm, share_interval, together
from study_stats.inference.permutation import permutation_test_of_tables
from study_stats.printing import interval_text, p_value_text, table_text

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class RecognisedImages:
    """Synthetic images, the most recognised first.

    Attributes:
        frame: One synthetic image a row (the index), with `count` of classifications, `recognised` (the correct ones),
            `share` of them, `low` and `high` of its interval, `p_value` of the exact test that the image is recognised
            no more often than `than` says, and `p_value_corrected` by Holm for all images.
        confidence: Confidence of the intervals, which cover all images' shares at once.
        significant: Number of images whose corrected p-value is below 1 - confidence.
        than: The rate that each image is tested against, in words.
    """

    frame: pd.DataFrame
    confidence: float
    significant: int
    than: str

    def __str__(self) -> str:
        """The first ten images, and the tests of all."""
        header = ["image", "recognised", "of", "share", f"{100 * self.confidence:.4g}% interval", "p-value", "Holm"]
        rows = [
            [
                str(image),
                f"{row['recognised']}",
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
            f"{self.significant:,} of {len(self.frame):,} images are recognised more often than {self.than},"
            f" at level {level:.2g} for all of them together"
        )


def recognised_images(
    classifications: AnyClassifications, *, confidence: float = 0.95, method: IntervalMethod = "exact"
) -> RecognisedImages:
    """Ranks synthetic images by how often readers recognised them as synthetic.

    Images that few readers saw cannot stand out by a test: four readers are all correct by guessing once in sixteen
    times. The order is then where to look, and the intervals say how little is known.

    A reader of pairs who guesses recognises an image every other time. A reader of single images may call most of them
    synthetic, so there an image is tested against the real ones that the same readers called synthetic.

    Args:
        classifications: At least one of a synthetic image, and of single images at least one of a real image.
        confidence: Confidence of all intervals together.
        method: Method of the intervals, 'exact' or 'wilson'.

    Raises:
        StudyError: There are no such classifications.

    Source: For single images, as in `permutation_test`, with readers as strata.
    """
    confidence = check_share("confidence", confidence)
    answers = classifications.answers
    table = crossed(answers["reader"], answers["image"], answers["synthetic"], answers["correct"])
    seen, recognised = (counts[:, table.second] for counts in (table.seen, table.hits))
    single = isinstance(classifications, SingleClassifications)
    if not seen.shape[1] or (single and table.second.all()):
        raise StudyError("there are no classifications" + (" of both real and synthetic images" if single else ""))
    names = np.sort(answers.loc[answers["synthetic"], "image"].unique())
    counts = {"count": seen.sum(0), "recognised": recognised.sum(0)}
    frame = pd.DataFrame(counts, pd.Index(names, name="synthetic_image"))
    frame["share"] = frame["recognised"] / frame["count"]
    each = together(confidence, len(frame))
    pairs = [(int(k), int(n)) for k, n in zip(frame["recognised"], frame["count"], strict=True)]
    intervals = {pair: share_interval(*pair, each, method) for pair in set(pairs)}
    frame[["low", "high"]] = [intervals[pair] for pair in pairs]
    if single:
        real, mistaken = ((counts[:, ~table.second]).sum(1) for counts in (table.seen, table.seen - table.hits))
        frame["p_value"] = [
            permutation_test_of_tables(np.stack([mistaken, hits]), np.stack([real, times]), "greater")
            for hits, times in zip(recognised.T, seen.T, strict=True)
        ]
    else:
        frame["p_value"] = binom.sf(frame["recognised"] - 1, frame["count"], 0.5)
    frame["p_value_corrected"] = holm(frame["p_value"].tolist())
    # Of equal p-values, the image that more readers recognised comes first.
    frame = frame.sort_values(["p_value", "share", "count"], ascending=[True, False, False], kind="stable")
    than = "real ones are taken for synthetic" if single else "by guessing"
    return RecognisedImages(frame, confidence, int((frame["p_value_corrected"] < 1 - confidence).sum()), than)
