import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_tiling import SlideError, TileTable, check_no_leak, split_by_group

pytestmark = pytest.mark.once

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
sizes = st.lists(st.integers(1, 60), min_size=3, max_size=40)
seeds = st.integers(0, 2**32 - 1)


def table_of(sizes: list[int], slides_per_patient: int = 2) -> TileTable:
    """One slide for each size, with that many tiles in a row."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"s{slide}" for slide in number]
    return TileTable(
        pd.DataFrame(
            {
                "patient": [f"p{slide // slides_per_patient}" for slide in number],
                "slide": names,
                "path": [f"{name}.tif" for name in names],
                "x_l0": np.concatenate([np.arange(size) * 100 for size in sizes]),
                "y_l0": 0,
                "field_l0": 100,
                "tissue": 1,
                "split": "unknown",
            }
        )
    )


def split_of(table: TileTable, by: str) -> dict[str, str]:
    return dict(zip(table.frame[by], table.frame["split"], strict=True))


@settings(max_examples=50)
@given(sizes, seeds)
def test_nothing_leaks_and_no_split_is_empty(sizes: list[int], seed: int) -> None:
    table = split_by_group(table_of(sizes, 1), FRACTIONS, seed)
    for by in ("patient", "slide", "tiles"):
        check_no_leak(table, by=by)
    assert set(table.frame["split"]) == set(FRACTIONS)
    pd.testing.assert_frame_equal(table.frame.assign(split="unknown"), table_of(sizes, 1).frame)


@settings(max_examples=50)
@given(sizes, seeds, seeds)
def test_the_order_of_rows_does_not_matter(sizes: list[int], seed: int, shuffle: int) -> None:
    table = table_of(sizes, 1)
    shuffled = TileTable(table.frame.sample(frac=1, random_state=shuffle))
    assert split_of(split_by_group(table, FRACTIONS, seed), "slide") == split_of(
        split_by_group(shuffled, FRACTIONS, seed), "slide"
    )


@settings(max_examples=50)
@given(sizes, seeds)
def test_splits_have_their_share_as_far_as_groups_allow(sizes: list[int], seed: int) -> None:
    table = split_by_group(table_of(sizes, 1), FRACTIONS, seed)
    total, chosen = sum(sizes), split_of(table, "slide")
    held = {name: sum(size for slide, size in enumerate(sizes) if chosen[f"s{slide}"] == name) for name in FRACTIONS}

    def astray(held: dict[str, int]) -> float:
        return sum(abs(held[name] / total - FRACTIONS[name]) for name in FRACTIONS) / 2

    if astray(held) > 0.02:
        for slide, size in enumerate(sizes):
            of = chosen[f"s{slide}"]
            if list(chosen.values()).count(of) == 1:
                continue
            for to in FRACTIONS:
                moved = held | {of: held[of] - size, to: held[to] + size} if to != of else held
                assert astray(moved) >= astray(held) - 1e-9


def test_few_groups_move_when_one_is_added() -> None:
    random = np.random.default_rng(0)
    sizes = [int(size) for size in random.integers(20, 300, 400)]
    moved = []
    for seed in range(5):
        before = split_of(split_by_group(table_of(sizes[:-1], 1), FRACTIONS, seed), "slide")
        after = split_of(split_by_group(table_of(sizes, 1), FRACTIONS, seed), "slide")
        moved.append(sum(after[name] != split for name, split in before.items()))
    assert max(moved) <= 8


def test_patients_stay_whole() -> None:
    table = split_by_group(table_of([10] * 20), FRACTIONS, seed=1)
    check_no_leak(table)
    by_slide = split_by_group(table_of([10] * 20), FRACTIONS, seed=1, by="slide")
    check_no_leak(by_slide, by="slide")
    with pytest.raises(SlideError, match=r"patient 'p\d+' is in the splits '\w+' and '\w+'"):
        check_no_leak(by_slide)


def test_another_seed_is_another_split() -> None:
    table = table_of([10] * 40, 1)
    assert len({tuple(split_by_group(table, FRACTIONS, seed).frame["split"]) for seed in range(5)}) == 5


def test_too_few_groups_are_refused_with_numbers() -> None:
    with pytest.raises(SlideError, match="a patient for each of 3 splits, got 2 in 40 tiles"):
        split_by_group(table_of([10] * 4), FRACTIONS, 0)
    with pytest.raises(SlideError, match="got 0 in 0 tiles"):
        split_by_group(TileTable.concat([]), FRACTIONS, 0)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.1, "test": -0.1}, {"train": 1.0, "test": 0.0}])
def test_fractions_add_up(fractions: dict[str, float]) -> None:
    with pytest.raises(SlideError, match="add up to 1"):
        split_by_group(table_of([5] * 9), fractions, 0)


def test_groups_are_patients_or_slides_and_are_known() -> None:
    table = table_of([5] * 9)
    with pytest.raises(SlideError, match="'patient' or 'slide', got 'tissue'"):
        split_by_group(table, FRACTIONS, 0, by="tissue")
    unknown = TileTable(table.frame.assign(patient=[None] * 5 + list(table.frame["patient"][5:])))
    for call in (lambda: split_by_group(unknown, FRACTIONS, 0), lambda: check_no_leak(unknown)):
        with pytest.raises(SlideError, match="5 tiles of 45 without"):
            call()


def test_one_file_under_two_names_leaks() -> None:
    frame = table_of([2, 2], 1).frame.assign(path="same.tif", split=["train", "train", "test", "test"])
    with pytest.raises(SlideError, match=r"file 'same.tif' is in the splits 'test' and 'train'"):
        check_no_leak(TileTable(frame), by="slide")


def with_twins() -> TileTable:
    """Twelve slides of four tiles, of twelve patients; s3 and s9 are one slide under two names."""
    frame = table_of([4] * 12, 1).frame
    return TileTable(frame.assign(slide_id=frame["slide"].replace("s9", "s3")))


def test_one_slide_in_two_files_leaks() -> None:
    table = with_twins()
    for by in ("patient", "slide"):
        check_no_leak(TileTable(table.frame.assign(split="train")), by=by)
        frame = table.frame.assign(split=table.frame["slide"].map(lambda name: "test" if name == "s9" else "train"))
        message = r"one slide, in the files 's3.tif' and 's9.tif', is in the splits 'test' and 'train': one of 1"
        with pytest.raises(SlideError, match=message):
            check_no_leak(TileTable(frame), by=by)
        check_no_leak(TileTable(frame.drop(columns="slide_id")), by=by)  # as tables were before
    with pytest.raises(SlideError, match="overlaps"):
        check_no_leak(TileTable(frame), by="tiles")


def test_files_of_one_slide_stay_together() -> None:
    table = with_twins()
    for seed in range(20):
        for by in ("patient", "slide"):
            split = split_by_group(table, FRACTIONS, seed, by=by)
            check_no_leak(split, by=by)
            chosen = split_of(split, "slide")
            assert chosen["s3"] == chosen["s9"]
    apart = TileTable(table.frame[table.frame["slide"] != "s9"])
    known = TileTable(apart.frame.assign(slide_id=""))
    pd.testing.assert_series_equal(  # identities change nothing where all slides differ
        split_by_group(apart, FRACTIONS, 7).frame["split"], split_by_group(known, FRACTIONS, 7).frame["split"]
    )
    few = TileTable(table.frame[table.frame["slide"].isin(["s3", "s9", "s1"])])
    with pytest.raises(SlideError, match="a patient for each of 3 splits, got 2"):
        split_by_group(few, FRACTIONS, 0)


def placed(*tiles: tuple[int, int, float, str]) -> TileTable:
    frame = pd.DataFrame(tiles, columns=["x_l0", "y_l0", "field_l0", "split"])
    return TileTable(frame.assign(patient="p", slide="s", path="s.tif", tissue=1.0))


def test_overlapping_tiles_leak_and_adjoining_ones_do_not() -> None:
    check_no_leak(placed((0, 0, 100, "train"), (100, 0, 100, "test"), (50, 50, 20, "train")), by="tiles")
    message = (
        r"s.tif: the tile of 100 px at \(99, -99\) in split 'test' overlaps the tile of 100 px at \(0, 0\) in split "
        r"'train': one of 1"
    )
    with pytest.raises(SlideError, match=message):
        check_no_leak(placed((0, 0, 100, "train"), (99, -99, 100, "test")), by="tiles")


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 60), st.integers(0, 60), st.sampled_from([7, 12.5, 40]), st.sampled_from(["train", "test"])
        ),
        max_size=12,
    )
)
def test_an_overlap_is_found_wherever_it_is(tiles: list[tuple[int, int, float, str]]) -> None:
    overlap = any(
        one[3] != other[3]
        and one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[2]
        and other[1] < one[1] + one[2]
        for one in tiles
        for other in tiles
    )
    if overlap:
        with pytest.raises(SlideError, match="overlaps"):
            check_no_leak(placed(*tiles), by="tiles")
    else:
        check_no_leak(placed(*tiles), by="tiles")
