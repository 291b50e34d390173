"""Comparison of versions of a model by how often their images are taken for real."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from study_stats.classifications.single_images import AnyClassifications
from study_stats.errors import StudyError, check_share
from study_stats.inference.contrasts import Contrast, contrast
from study_stats.inference.intervals import holm, together
from study_stats.printing import exchanged_note, interval_frame, p_value_text, share_text, signed_text, table_text


@dataclass(frozen=True)
class VersionShare:
    """How often the synthetic images of one version were taken for real.

    Attributes:
        version: The version of the model.
        readers: Number of readers who saw its images.
        images: Number of its images.
        count: Number of classifications.
        taken_for_real: Share of them in which its image was taken for real; of pairs, that is p.
    """

    version: str
    readers: int
    images: int
    count: int
    taken_for_real: float


@dataclass(frozen=True)
class VersionDifference:
    """One version against another.

    Attributes:
        first: The one version.
        second: The other.
        difference: Share of images taken for real in the second less that in the first, in the readers who saw both,
            each against themselves (weights of Mantel and Haenszel); above 0 where the second fools readers more. NaN
            if no reader saw both.
        interval: Its interval.
        p_value: Of the test that the versions are alike, exact as `permutation_test` says.
        p_value_corrected: Corrected by Holm for all pairs of versions.
        images: Number of images that these readers saw.
        exchanged: Number of them that the test uses: those for which the same readers saw images of the other version.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_value_corrected: float
    images: int
    exchanged: int


@dataclass(frozen=True)
class VersionComparison:
    """All versions of the model, and each against each.

    Attributes:
        versions: Each version.
        differences: Each pair of them. Their intervals hold for all at once.
        confidence: Confidence of the intervals.
    """

    versions: tuple[VersionShare, ...]
    differences: tuple[VersionDifference, ...]
    confidence: float

    @property
    def frame(self) -> pd.DataFrame:
        """The differences, one a row, with `low` and `high` for the interval."""
        return interval_frame(self.differences, ["first", "second"])

    def __str__(self) -> str:
        """A table of the versions, one of their differences, and what they have to be read with."""
        shares = [
            [row.version, str(row.readers), f"{row.images:,}", f"{row.count:,}", share_text(row.taken_for_real)]
            for row in self.versions
        ]
        differences = [
            [
                f"{row.second} - {row.first}",
                signed_text(row.difference),
                f"[{row.interval[0]:+.4f}, {row.interval[1]:+.4f}]",
                p_value_text(row.p_value),
                p_value_text(row.p_value_corrected),
            ]
            for row in self.differences
        ]
        interval = f"{100 * self.confidence:.4g}% interval"
        exchanged, images = (sum(getattr(row, name) for row in self.differences) for name in ("exchanged", "images"))
        return "\n".join(
            [
                table_text(["version", "readers", "images", "n", "taken for real"], shares),
                "",
                table_text(["versions", "difference", interval, "p-value", "Holm"], differences),
                "Each reader against themselves; tests exchange images. Intervals hold for all differences at once.",
                *exchanged_note(exchanged, images),
            ]
        )


def compare_versions(classifications: AnyClassifications, *, confidence: float = 0.95) -> VersionComparison:
    """Compares the versions of a model: whose images are taken for real more often?

    Readers differ, and may have seen more of one version than of another, so that each is compared with themselves.
    They saw the same images, and answers on an image are alike; so the test takes images as what is drawn by chance: it
    exchanges the images of two versions that the same readers saw. Where each reader saw other images, this is the
    exact test of Cochran, Mantel and Haenszel with readers as strata; with one reader, Fisher's.

    The differences are those in these readers, for other images of the versions.

    Args:
        classifications: Of two versions or more. Of single images, the real ones are not looked at: they are the same
            for all versions.
        confidence: That of all intervals together.

    Raises:
        StudyError: There are fewer than two versions.

    Source: As in `permutation_test` for the test, and in `Contrast.interval` for the interval.
    """
    confidence = check_share("confidence", confidence)
    versions = classifications.versions
    if len(versions) < 2:
        raise StudyError(
            f"{len(versions)} versions of the model ({', '.join(versions) or 'none'}): wanted two to compare"
        )
    answers = classifications.answers
    answers = answers[answers["synthetic"]]
    pairs = list(combinations(versions, 2))
    found = [_contrast(answers, *pair) for pair in pairs]
    p_values = [pair.p_value for pair in found]
    each = together(confidence, int(np.isfinite(p_values).sum()))
    differences = tuple(
        VersionDifference(
            *pair, one.difference, one.interval(each), one.p_value, float(by_holm), one.images, one.exchanged
        )
        for pair, one, by_holm in zip(pairs, found, holm(p_values), strict=True)
    )
    shares = tuple(_share(str(version), mine) for version, mine in answers.groupby("model_version"))
    return VersionComparison(shares, differences, confidence)


def _contrast(answers: pd.DataFrame, first: str, second: str) -> Contrast:
    both = answers[answers["model_version"].isin([first, second])]
    images = both.groupby(["image", "model_version"]).ngroup()  # versions may use the same names
    return contrast(both["reader"], images, both["model_version"] == second, ~both["correct"])


def _share(version: str, answers: pd.DataFrame) -> VersionShare:
    readers, images = (answers[name].nunique() for name in ("reader", "image"))
    return VersionShare(version, readers, images, len(answers), float((~answers["correct"]).mean()))
