"""Discrimination of real from synthetic images that are shown one at a time."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from study_stats.classifications.counts import SingleAnswers, single_answers
from study_stats.classifications.single_images import SingleClassifications
from study_stats.errors import StudyError, check_share
from study_stats.inference.contrasts import Contrast, contrast
from study_stats.inference.intervals import IntervalMethod, holm, share_interval, together
from study_stats.printing import exchanged_note, p_value_text, pooled_note, share_text, signed_text, table_text


@dataclass(frozen=True)
class ReaderDiscrimination:
    """Discrimination by one reader, or by all together. Values of images that the reader did not see are NaN.

    Attributes:
        reader: The reader, or 'total'.
        real: Number of real images that the reader saw.
        real_called_real: Number of them that the reader called real.
        synthetic: Number of synthetic images that the reader saw.
        synthetic_called_real: Number of them that the reader called real.
        real_share: Share of real images called real; with real as the positive answer, the sensitivity.
        real_interval: Its interval.
        synthetic_share: Share of synthetic images called real; 1 - specificity.
        synthetic_interval: Its interval.
        difference: real_share - synthetic_share: 0 if the reader does not tell real from synthetic images, whatever
            the reader tends to say; 1 if the reader tells them all apart. For the total, see `Discrimination`.
        difference_interval: Its interval, by Newcombe.
        p_value: Fisher's exact test that the shares are equal.
        p_value_corrected: Corrected by Holm for all readers; of the total, the same as `p_value`.
        accuracy: Share of correct classifications.
        balanced_accuracy: Mean of the shares of correct ones of real and of synthetic images, (1 + difference) / 2; 0.5
            is that of guessing.
        d_prime: Distance of real and synthetic images to the reader, in standard deviations.
        d_prime_interval: Its interval.
        criterion: Bias of the reader: towards 'synthetic' above 0, towards 'real' below.
    """

    reader: str
    real: int
    real_called_real: int
    synthetic: int
    synthetic_called_real: int
    real_share: float
    real_interval: tuple[float, float]
    synthetic_share: float
    synthetic_interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    p_value: float
    p_value_corrected: float
    accuracy: float
    balanced_accuracy: float
    d_prime: float
    d_prime_interval: tuple[float, float]
    criterion: float


@dataclass(frozen=True)
class Discrimination:
    """Discrimination of real from synthetic images, by reader and in total.

    Attributes:
        readers: Each reader. The intervals of a value cover all readers' at once as often as `confidence` says.
        total: Shares, accuracy, d' and criterion of all classifications as if one reader had made them, which hides how
            readers differ. Its difference, with interval and test, and balanced accuracy are of each reader against
            themselves (weights of Mantel and Haenszel), and take into account that readers saw the same images, as
            does its interval of d'.
        confidence: Confidence of the intervals.
        method: Method of the intervals of shares, 'exact' or 'wilson'.
        images: Number of images that readers who saw both kinds saw; of counts, of classifications.
        exchanged: Number of them that the test of the total uses: those for which the same readers saw images of the
            other kind.
        versions: Versions of the model that were pooled; empty for counts.
    """

    readers: tuple[ReaderDiscrimination, ...]
    total: ReaderDiscrimination
    confidence: float
    method: IntervalMethod
    images: int
    exchanged: int
    versions: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """The readers and the total, one a row, with `low` and `high` for each interval."""
        rows = [asdict(row) for row in (*self.readers, self.total)]
        for row in rows:
            for name in ("real", "synthetic", "difference", "d_prime"):
                row[f"{name}_low"], row[f"{name}_high"] = row.pop(f"{name}_interval")
        return pd.DataFrame(rows).set_index("reader")

    def __str__(self) -> str:
        """A table of what was called real, one of signal detection, and notes for reading them."""
        interval = f"{100 * self.confidence:.4g}% interval"
        rows = (*self.readers, self.total)
        called = [
            "reader",
            "real",
            "called real",
            "synthetic",
            "called real",
            "difference",
            interval,
            "p-value",
            "Holm",
        ]
        signal = ["reader", "accuracy", "balanced", "d'", interval, "criterion"]
        return "\n".join(
            [
                table_text(called, [_called(row, row is self.total) for row in rows]),
                "",
                table_text(signal, [_signal(row) for row in rows]),
                "Exact tests that real and synthetic images are called real equally often.",
                "Intervals of a value hold for all readers at once.",
                "The total compares each reader with themselves; its shares take classifications for independent.",
                *exchanged_note(self.exchanged, self.images),
                *pooled_note(self.versions),
            ]
        )


def discrimination(
    answers: SingleAnswers, *, confidence: float = 0.95, method: IntervalMethod = "exact"
) -> Discrimination:
    """Measures how often readers called real and synthetic images real, and how well they tell them apart.

    d' and criterion are those of equal variances, with half an answer of each kind added (the log-linear correction),
    so that they are finite. The intervals of d' are normal ones, by the approximate variance.

    Args:
        answers: Classifications of single images, or their counts by reader, who then count as having seen different
            images.
        confidence: Confidence of all readers' intervals of one value together.
        method: Method of the intervals of shares: 'exact', by Clopper and Pearson, or 'wilson'.

    Raises:
        StudyError: No reader saw both real and synthetic images, or the settings make no sense.

    Source: Hautus 1995, 'Corrections for extreme proportions and their biasing effects on estimated values of d prime';
    Gourevitch and Galanter 1967, 'A significance test for one parameter isosensitivity functions', for the variance.

    Example:
        >>> print(discrimination({"A": SingleCounts(40, 31, 40, 26), "B": SingleCounts(40, 36, 40, 9)}))
        reader  real  called real  synthetic  called real  difference        95% interval  p-value      Holm
        A         40       0.7750         40       0.6500     +0.1250  [-0.1001, +0.3345]    0.323     0.323
        B         40       0.9000         40       0.2250     +0.6750  [+0.4428, +0.8047]  8.9e-10  1.78e-09
        total     80       0.8375         80       0.4375     +0.4000  [+0.2598, +0.5100]  1.5e-07
        <BLANKLINE>
        reader  accuracy  balanced      d'      95% interval  criterion
        A         0.5625    0.5625  +0.358  [-0.312, +1.027]     -0.554
        B         0.8375    0.8375  +1.961  [+1.194, +2.728]     -0.247
        total     0.7000    0.7000  +1.123  [+0.695, +1.550]     -0.406
        Exact tests that real and synthetic images are called real equally often.
        Intervals of a value hold for all readers at once.
        The total compares each reader with themselves; its shares take classifications for independent.
    """
    confidence = check_share("confidence", confidence)
    table = single_answers(answers)
    contrasts, pooled = real_against_synthetic(table)
    p_values = [found.p_value for found in contrasts.values()]
    each = together(confidence, int(np.isfinite(p_values).sum()))
    readers = tuple(
        _result(reader, table[table["reader"] == reader], found, float(by_holm), each, method)
        for (reader, found), by_holm in zip(contrasts.items(), holm(p_values), strict=True)
    )
    total = _result("total", table, pooled, pooled.p_value, confidence, method)
    versions = tuple(answers.versions) if isinstance(answers, SingleClassifications) else ()
    return Discrimination(readers, total, confidence, method, pooled.images, pooled.exchanged, versions)


def real_against_synthetic(answers: pd.DataFrame) -> tuple[dict[str, Contrast], Contrast]:
    """Compares how often real images are called real with how often synthetic ones are, by reader and for all.

    Args:
        answers: As `single_answers` returns them.

    Raises:
        StudyError: No reader saw both.
    """

    def compared(mine: pd.DataFrame) -> Contrast:
        return contrast(mine["reader"], mine["image"], ~mine["synthetic"], mine["answer"])

    pooled = compared(answers)
    if not pooled.images:
        raise StudyError("no reader saw both real and synthetic images, so nothing says how well they are told apart")
    return {str(reader): compared(mine) for reader, mine in answers.groupby("reader", observed=False)}, pooled


def _result(
    reader: str, answers: pd.DataFrame, found: Contrast, corrected: float, confidence: float, method: IntervalMethod
) -> ReaderDiscrimination:
    called = [answers.loc[answers["synthetic"] == synthetic, "answer"] for synthetic in (False, True)]
    hits, totals = np.array([[mine.sum() for mine in called], [len(mine) for mine in called]], np.int64)
    real_share, synthetic_share = (
        float(hit / total) if total else np.nan for hit, total in zip(hits, totals, strict=True)
    )
    real_interval, synthetic_interval = (
        share_interval(int(hit), int(total), confidence, method) for hit, total in zip(hits, totals, strict=True)
    )
    d_prime, d_prime_interval, criterion = _signal_detection(hits, totals, found.inflation, confidence)
    return ReaderDiscrimination(
        reader=reader,
        real=int(totals[0]),
        real_called_real=int(hits[0]),
        synthetic=int(totals[1]),
        synthetic_called_real=int(hits[1]),
        real_share=real_share,
        real_interval=real_interval,
        synthetic_share=synthetic_share,
        synthetic_interval=synthetic_interval,
        difference=found.difference,
        difference_interval=found.interval(confidence),
        p_value=found.p_value,
        p_value_corrected=corrected,
        accuracy=float((hits[0] + totals[1] - hits[1]) / totals.sum()) if totals.any() else np.nan,
        balanced_accuracy=(1 + found.difference) / 2,
        d_prime=d_prime,
        d_prime_interval=d_prime_interval,
        criterion=criterion,
    )


def _signal_detection(
    hits: NDArray[np.int64], totals: NDArray[np.int64], inflation: float, confidence: float
) -> tuple[float, tuple[float, float], float]:
    """d', its interval, and the criterion, of how many real and synthetic images were called real."""
    if not totals.all():
        return np.nan, (-np.inf, np.inf), np.nan
    shares = (hits + 0.5) / (totals + 1)
    real, synthetic = (float(z) for z in norm.ppf(shares))
    variance = np.sum(shares * (1 - shares) / (totals * norm.pdf([real, synthetic]) ** 2))
    reach = float(norm.isf((1 - confidence) / 2) * np.sqrt(inflation * variance))
    d_prime = real - synthetic
    return d_prime, (d_prime - reach, d_prime + reach), -(real + synthetic) / 2


def _called(row: ReaderDiscrimination, total: bool) -> list[str]:
    low, high = row.difference_interval
    return [
        row.reader,
        f"{row.real:,}",
        share_text(row.real_share),
        f"{row.synthetic:,}",
        share_text(row.synthetic_share),
        signed_text(row.difference),
        f"[{low:+.4f}, {high:+.4f}]",
        p_value_text(row.p_value),
        "" if total else p_value_text(row.p_value_corrected),
    ]


def _signal(row: ReaderDiscrimination) -> list[str]:
    low, high = row.d_prime_interval
    return [
        row.reader,
        share_text(row.accuracy),
        share_text(row.balanced_accuracy),
        signed_text(row.d_prime, 3),
        f"[{low:+.3f}, {high:+.3f}]",
        signed_text(row.criterion, 3),
    ]
