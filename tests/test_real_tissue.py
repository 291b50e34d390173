"""Tissue, tiles and crops of real slides and pictures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wsi_tiling import (
    RECOMMENDED,
    STUDY,
    Image,
    Slide,
    TissueRule,
    check_no_leak,
    find_tiles,
    open_slide,
    overview,
    random_crops,
    read_concentric,
    resolve_rule,
    split_by_group,
    tissue_mask,
    whole_slide_fields,
)
from wsi_tiling.tissue.pen import ink_flags, pen_mask

DATA = Path(__file__).parents[2] / "shared" / "data"
TILES = DATA / "tissue-filter"
KUMAR = sorted((DATA / "kumar" / "images").glob("*.png"))

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}"),
]


@pytest.fixture(scope="module")
def slide() -> Iterator[Slide]:
    with open_slide(DATA / "slides" / "CMU-1-Small-Region.svs") as opened:
        yield opened


def read_at(path: Path, px_a_px: int) -> Image:
    with open_slide(path) as picture:
        width, height = picture.size_l0
        return picture.read((0, 0), (width, height), (width // px_a_px, height // px_a_px))


@pytest.mark.parametrize(
    ("name", "scale_l0", "least", "most"),
    [
        ("almost-white-1", 1, 0, 0.01),
        ("no-tissue", 1, 0, 0.01),
        ("no-tissue-green-pen", 1, 0, 0.01),
        ("no-tissue-line", 1, 0, 0.01),
        ("low-nuclei-score-level1", 4, 0.35, 0.6),
        ("medium-nuclei-score-green-pen-level1", 4, 0.35, 0.5),
        ("very-low-nuclei-score-red-pen-level1", 4, 0.08, 0.2),
        ("tissue-level0-4302-10273-4814-10785", 1, 0.85, 1),
        ("tissue-level2-3000-7666-7096-11763", 16, 0.7, 0.9),
    ],
)
def test_glass_and_pen_are_refused_and_sparse_and_dense_tissue_is_kept(
    name: str, scale_l0: float, least: float, most: float
) -> None:
    for reduced in (1, 4, 16):
        share = tissue_mask(read_at(TILES / f"{name}.png", reduced), RECOMMENDED, scale_l0 * reduced).mean()
        assert least <= share <= most


@pytest.mark.parametrize("name", ["no-tissue-green-pen", "very-low-nuclei-score-red-pen-level1"])
def test_the_pen_is_refused_for_its_colour(name: str) -> None:
    image = read_at(TILES / f"{name}.png", 1)
    ink = image.max(axis=2).astype(int) - image.min(axis=2) > 90
    assert ink.mean() > 0.1
    assert pen_mask(ink_flags(image), 4)[ink].mean() > 0.98


each_image = pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.thorough)])
"""Of the thirty images of 1,000 px every fourth, or for a release all."""


@each_image
def test_real_haematoxylin_and_eosin_is_not_ink(step: int) -> None:
    for path in KUMAR[::step]:
        for scale in (1, 8, 16):
            assert not pen_mask(ink_flags(read_at(path, scale)), scale).any(), path


@each_image
def test_images_full_of_tissue_are_kept_whole(step: int) -> None:
    assert len(KUMAR) == 30
    shares = [tissue_mask(read_at(path, 1), RECOMMENDED).mean() for path in KUMAR[::step]]
    assert min(shares) > 0.94
    assert np.mean(shares) > 0.98


def test_the_recommended_rule_finds_the_tissue_of_a_slide_and_not_its_dust(slide: Slide) -> None:
    frame = find_tiles([slide], field_l0=256, rule=RECOMMENDED, min_tissue=0.05).frame
    generous = find_tiles([slide], field_l0=256, rule=STUDY, min_tissue=0.05).frame
    assert len(frame) > 40
    assert set(zip(frame["x_l0"], frame["y_l0"], strict=True)) <= set(
        zip(generous["x_l0"], generous["y_l0"], strict=True)
    )
    whole = tissue_mask(slide.read((0, 0), slide.size_l0, (555, 741)), RECOMMENDED, 4)
    assert 0.3 < whole.mean() < 0.45
    glass = {"upper right": whole[:100, 400:], "left": whole[300:, :80], "lower right": whole[620:, 480:]}
    for name, corner in glass.items():
        assert corner.mean() < 0.01, name


def test_otsu_splits_a_real_slide_between_glass_and_tissue(slide: Slide) -> None:
    limit = resolve_rule(TissueRule(kind="otsu"), slide).min_saturation
    assert 0.05 < limit < 0.3
    share = tissue_mask(slide.read((0, 0), slide.size_l0, (555, 741)), TissueRule(min_saturation=limit)).mean()
    assert 0.25 < share < 0.4


def test_concentric_fields_are_what_direct_reads_give(slide: Slide) -> None:
    fields = [64, 200.5, 512, 1024, 4096]
    for centre in ((1110, 1500), (3.25, 2960.5)):
        for field, image in zip(fields, read_concentric(slide, centre, fields, 64), strict=True):
            corner = (centre[0] - field / 2, centre[1] - field / 2)
            np.testing.assert_array_equal(image, slide.read(corner, field, 64))


def test_whole_slide_fields_keep_the_scale_of_the_slide(slide: Slide) -> None:
    (x, y), *others = whole_slide_fields(slide, 4096).frame[["x_l0", "y_l0"]].to_numpy().tolist()
    assert not others
    assert (x, y) == ((2220 - 4096) // 2, (2967 - 4096) // 2)
    cover = whole_slide_fields(slide, 1024, larger="cover", rule=RECOMMENDED, min_tissue=0.1).frame
    assert 4 <= len(cover) <= 9


def test_crops_of_plain_images_are_split_without_a_leak() -> None:
    tables = []
    for number, path in enumerate(KUMAR[:8]):
        with open_slide(path) as picture:
            tables.append(random_crops(picture, 256, 20, np.random.default_rng(number), rule=RECOMMENDED))
    table = split_by_group(type(tables[0]).concat(tables), {"train": 0.75, "test": 0.25}, seed=0)
    check_no_leak(table)
    assert table.frame["tissue"].min() > 0.7
    assert (table.frame["split"] == "train").sum() == 120


def test_an_aerial_picture_is_all_to_be_used() -> None:
    with open_slide(DATA / "aerial" / "yellowstone-2299x2472.jpg") as picture:
        table = find_tiles([picture], field_l0=[256, 1024], rule=TissueRule.everything())
        assert (table.frame["tissue"] == 1).all()
        drawing = overview(picture, table, TissueRule.everything(), 400)
    assert not (drawing == (0, 160, 0)).all(axis=2).any()
