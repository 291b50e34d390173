"""The table of strategies: means, and intervals that say what they are of."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from maskcond import SegmentationScores
from maskcond.enrichment import EnrichmentError
from maskcond.enrichment.strategies.strategy import with_starts
from maskcond.enrichment.strategies.strategy_table import (
    ImageScores,
    TableRow,
    make_table,
    read_scores,
    read_table,
    write_scores,
    write_table,
)


def scored(values: list[float], splits: list[str]) -> list[ImageScores]:
    return [
        ImageScores(f"image-{number}", split, SegmentationScores(value, value / 2, value / 2, value / 2, 1.0, 1.0))
        for number, (value, split) in enumerate(zip(values, splits, strict=True))
    ]


def row(rows: list[TableRow], strategy: str, split: str) -> TableRow:
    return next(each for each in rows if (each.strategy, each.split) == (strategy, split))


SPLITS = ["seen"] * 8 + ["unseen"] * 6


@pytest.fixture
def rows() -> list[TableRow]:
    rng = np.random.default_rng(1)
    of_images = rng.uniform(0.5, 0.9, 14)
    of_1 = [scored(list(of_images + shift), SPLITS) for shift in (-0.01, 0.0, 0.02)]
    of_5 = [scored(list(of_images + shift + 0.05), SPLITS) for shift in (-0.01, 0.0, 0.02)]
    return make_table({"1": of_1, "5": of_5}, resamples=2000, confidence=0.95)


def test_means_over_images_and_seeds(rows: list[TableRow]) -> None:
    values = np.random.default_rng(1).uniform(0.5, 0.9, 14)
    assert row(rows, "1", "seen").figures["dice"].value == pytest.approx(values[:8].mean() + 0.01 / 3)
    assert row(rows, "1", "all").figures["aji"].value == pytest.approx((values.mean() + 0.01 / 3) / 2)
    assert (row(rows, "1", "unseen").images, row(rows, "1", "unseen").seeds) == (6, 3)


def test_intervals_over_seeds_are_students(rows: list[TableRow]) -> None:
    values = np.random.default_rng(1).uniform(0.5, 0.9, 14)
    means = values.mean() + np.array([-0.01, 0.0, 0.02])
    wanted = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert row(rows, "1", "all").figures["dice"].over_seeds == pytest.approx(wanted)


def test_a_difference_that_all_images_share_is_certain_however_they_differ(rows: list[TableRow]) -> None:
    figure = row(rows, "5", "all").figures["dice"]
    assert figure.difference == pytest.approx(0.05)
    assert figure.difference_over_images == pytest.approx((0.05, 0.05))
    assert figure.difference_over_seeds == pytest.approx((0.05, 0.05))
    low, high = figure.over_images
    assert high - low > 0.05
    assert row(rows, "1", "all").figures["dice"].difference is None


def test_the_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        rows = make_table({"1": [scored(list(rng.uniform(0, 1, 40)), ["seen"] * 40)]}, resamples=300, confidence=0.9)
        low, high = rows[0].figures["dice"].over_images
        covered += low <= 0.5 <= high
    assert 80 <= covered <= 97


def test_one_seed_has_no_interval_over_seeds_and_one_split_no_row_for_all() -> None:
    rows = make_table({"4": [scored([0.5, 0.7], ["seen"] * 2)]}, resamples=10, confidence=0.95)
    assert [each.split for each in rows] == ["seen"]
    assert rows[0].figures["dice"].over_seeds is None
    assert rows[0].figures["dice"].difference is None  # strategy 1 is not there


def test_scores_of_different_images_are_refused() -> None:
    some, others = scored([0.5], ["seen"]), scored([0.5], ["unseen"])
    with pytest.raises(EnrichmentError, match="the same test images"):
        make_table({"1": [some], "5": [others]}, resamples=10, confidence=0.95)


def test_scores_and_table_are_the_same_from_their_files(rows: list[TableRow], tmp_path: Path) -> None:
    write_table(tmp_path / "table.json", rows, confidence=0.95)
    assert read_table(tmp_path / "table.json") == (rows, 0.95)
    scores = scored([0.25, 0.5], ["seen", "unseen"])
    write_scores(tmp_path / "scores.json", scores)
    assert read_scores(tmp_path / "scores.json") == scores


def test_strategies_come_after_those_that_they_start_from() -> None:
    assert with_starts(["5", "2", "1"]) == ["4", "5", "1", "2"]
