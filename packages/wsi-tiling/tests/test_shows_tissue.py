import numpy as np
import pytest

from wsi_tiling import TissueRule, shows_tissue, tissue_mask

GLASS = (242, 243, 242)
BOX = (slice(30, 44), slice(20, 37))


def picture(seed: int) -> np.ndarray:
    """Glass with dots and squares of tissue, dust, blue ink and black, (64, 64, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((64, 64, 3), GLASS, np.uint8)
    for colour in ((160, 80, 150), (30, 60, 200), (20, 20, 20), (230, 200, 225)):
        for _ in range(int(rng.integers(0, 3))):
            (x, y), side = rng.integers(0, 60, 2), int(rng.integers(1, 12))
            image[y : y + side, x : x + side] = colour
    return image


@pytest.mark.parametrize(
    "rule",
    [
        TissueRule(0.5, 0.03, erode_px=3, dilate_px=9, reject_pen=True),
        TissueRule(0.5, 0.03, erode_px=3, dilate_px=15),
        TissueRule(0.5, 0.03, kind="otsu"),
        TissueRule(0.5, 0.03, reject_pen=True, min_area_l0=200, max_hole_l0=200),
        TissueRule.everything(),
    ],
)
def test_it_is_whether_the_mask_has_tissue_there(rule: TissueRule) -> None:
    answers = []
    for seed in range(60):
        image = picture(seed)
        answers.append(shows_tissue(image, rule, BOX, 4.0, GLASS))
        assert answers[-1] == tissue_mask(image, rule, 4.0, GLASS)[BOX].any(), seed
    assert rule.accepts_everything or len(set(answers)) == 2


def test_a_rule_reaches_as_far_as_its_ink_and_specks() -> None:
    assert TissueRule(erode_px=5, dilate_px=51).reach_px(39) == 28
    assert TissueRule(reject_pen=True, min_area_l0=100, max_hole_l0=50).reach_px(10) == (512 + 48) // 10 + 4 + 1 + 1


def test_within_that_reach_a_part_of_a_picture_tells_the_same() -> None:
    rule = TissueRule(0.5, 0.03, erode_px=3, dilate_px=5, min_area_l0=400, max_hole_l0=400)
    reach = rule.reach_px(10)
    near = tuple(slice(side.start - reach, side.stop + reach) for side in BOX)
    inner = tuple(slice(reach, reach + side.stop - side.start) for side in BOX)
    for seed in range(60):
        image = picture(seed)
        part = shows_tissue(image[near], rule, (inner[0], inner[1]), 10.0, GLASS)
        assert part == shows_tissue(image, rule, BOX, 10.0, GLASS), seed
