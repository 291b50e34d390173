"""Pictures are read at the size that a stage needs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import urcdm.training.examples
from cdm_core import TrainingConfig
from urcdm import LevelExamples, NetworkPlan, TrainingPlan, Urcdm
from urcdm.training.examples import READ_PX, read_px
from wsi_tiling import ArraySlide, TissueRule, find_tiles

RULE = TissueRule(min_hue=-1, min_saturation=0.1, dilate_px=3)
NARROW_RULE = TissueRule(min_hue=-1, min_saturation=0.1)
"""Goes by so few pixels around that a part of a patch can be judged alone."""


@pytest.mark.parametrize(
    ("level_px", "stage_px", "side"),
    [(1024, 64, READ_PX), (1024, 256, 256), (1024, 512, 512), (1024, 1024, 1024), (128, 32, 128), (300, 60, 300)],
)
def test_a_large_picture_is_read_smaller_for_a_small_stage(level_px: int, stage_px: int, side: int) -> None:
    assert read_px(level_px, stage_px) == side


class Watched(ArraySlide):
    """A slide that remembers the sizes at which it was read."""

    sides: list[int]

    def read(self, xy_l0, field_l0, size_px):  # type: ignore[no-untyped-def]
        self.sides.append(size_px)
        return super().read(xy_l0, field_l0, size_px)


@pytest.fixture(scope="module")
def slide() -> Watched:
    """Smooth tissue with a hole of glass, 300 x 400 px."""
    y, x = np.mgrid[:300, :400]
    picture = np.stack([x * 0.3 + 90, 40 + y * 0.2, 128 + 60 * np.sin(x / 23 + y / 17)], axis=-1).astype(np.uint8)
    picture[np.hypot(x - 200, y - 150) < 70] = 242
    slide = Watched(picture, mpp=0.5, background=(242, 243, 242), path=Path("smooth.png"))
    slide.sides = []
    return slide


def examples(model: Urcdm, slide: ArraySlide, level: int, stage: int) -> LevelExamples:
    networks = tuple(
        NetworkPlan(own.name, config, TrainingConfig(steps=1, batch_size=1))
        for own, cascade in zip(model.config.levels, model.cascades, strict=True)
        for config in cascade.config.stages
    )
    tiles = find_tiles([slide], field_l0=model.config.levels[level].field_l0, rule=TissueRule.everything())
    return LevelExamples(TrainingPlan(model.config, networks), level, stage, tiles, {"smooth": slide}, seed=1)


@pytest.mark.parametrize(("level", "rule"), [(0, RULE), (1, RULE), (1, NARROW_RULE)])
def test_examples_read_small_are_those_read_large_but_for_a_few_grey_values(
    make_model: Callable[..., Urcdm], slide: Watched, monkeypatch: pytest.MonkeyPatch, level: int, rule: TissueRule
) -> None:
    model = make_model(context="plain", tissue=rule)
    large = examples(model, slide, level, 0)
    monkeypatch.setattr(urcdm.training.examples, "READ_PX", 8)
    small = examples(model, slide, level, 0)
    side = small.make.stage.image_px
    assert (side, small.make.patch_px, large.make.patch_px) == (8, 8, 16)
    for draw in range(30):
        expected = large[draw]
        slide.sides.clear()
        found = small[draw]
        assert found.keys() == expected.keys()
        assert slide.sides[-1] == side
        assert 16 not in slide.sides  # the size of the level
        for name, values in expected.items():
            # a row or column that is partly outside the slide is the fill colour, and so is a wider one here
            assert ((found[name] - values).abs() * 255).quantile(0.7) < 6, (draw, name)


def test_tissue_in_the_middle_of_a_patch_is_looked_for_first(
    make_model: Callable[..., Urcdm], slide: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urcdm.training.examples, "READ_PX", 8)
    data = examples(make_model(context="plain", tissue=NARROW_RULE), slide, 1, 0)
    middle, whole, tries = 2, 4, []
    for draw in range(30):
        slide.sides.clear()
        data[draw]
        *looks, context, patch = slide.sides
        assert (context, patch) == (8, 8)
        tries.append(tuple(looks))
    assert all(look in (middle, whole) for looks in tries for look in looks)
    assert tries.count((middle,)) > 15  # nothing else is read of most parents
    assert any(looks[:2] == (middle, whole) for looks in tries)


def test_a_sharp_centre_is_read_at_the_parents_size(
    make_model: Callable[..., Urcdm], slide: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urcdm.training.examples, "READ_PX", 8)
    make = examples(make_model(context="centre"), slide, 1, 1).make
    assert make.context_px == 16
