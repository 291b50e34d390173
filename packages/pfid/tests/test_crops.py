from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfid.crops.plan import SIDES, CropPlan, WhiteRule
from pfid.crops.planning import plan_crops
from pfid.errors import PlanError
from pfid.images.sources import Images, ImageSource

SIZES = st.lists(st.tuples(st.integers(64, 3000), st.integers(64, 3000)), min_size=1, max_size=4)


def images_of(*sizes: tuple[int, int], prefix: str = "") -> Images:
    """Images that are never opened: a plan takes their names and sizes alone."""
    names = tuple(f"{prefix}{number}" for number in range(len(sizes)))
    return Images(names, sizes, names, never)


def never(place: str) -> ImageSource:
    raise AssertionError(place)


@settings(max_examples=60, deadline=None)
@given(
    real=SIZES,
    fake=SIZES,
    protocol=st.sampled_from(["any-resolution", "paired"]),
    size_max=st.sampled_from([0, 64, 500]),
    seed=st.integers(0, 99),
)
def test_every_crop_lies_in_its_image_and_is_not_enlarged(
    real: list[tuple[int, int]], fake: list[tuple[int, int]], protocol: Any, size_max: int, seed: int
) -> None:
    sides = {"real": images_of(*real), "fake": images_of(*fake)}
    plan = plan_crops(**sides, protocol=protocol, count=40, patch_px=32, size_min=64, size_max=size_max, seed=seed)
    assert len(plan) == 40
    assert plan.scale_px.min() >= 64
    assert (plan.window_xy >= 0).all()
    assert (plan.window_xy + 32 <= plan.scale_px[:, None]).all()
    for side in SIDES:
        planned = plan.side(side)
        corners, fields = plan.regions(side)
        sizes = np.array(sides[side].sizes)[planned.image]
        assert (corners >= planned.square_xy).all()
        assert (corners + fields[:, None] <= planned.square_xy + planned.square[:, None] + 1e-9).all()
        assert (planned.square_xy + planned.square[:, None] <= sizes).all()
        assert (fields >= 32).all()
        if size_max:
            assert plan.scale_px.max() <= size_max


def test_both_crops_of_a_pair_have_one_scale_and_place_in_their_squares() -> None:
    plan = plan_crops(real=images_of((4000, 3000)), fake=images_of((1000, 1500)), count=200, patch_px=64)
    (real_xy, real_field), (fake_xy, fake_field) = plan.regions("real"), plan.regions("fake")
    np.testing.assert_allclose(real_field / 3000, fake_field / 1000)
    np.testing.assert_allclose((real_xy - plan.real.square_xy) / 3000, (fake_xy - plan.fake.square_xy) / 1000)


def test_the_paired_protocol_covers_as_many_pixels_on_both_sides() -> None:
    real, fake = images_of((4000, 3000), (900, 5000)), images_of((1000, 1500))
    plan = plan_crops(real=real, fake=fake, protocol="paired", count=200, patch_px=64)
    np.testing.assert_array_equal(plan.regions("real")[1], plan.regions("fake")[1])
    np.testing.assert_array_equal(plan.real.square, np.where(plan.real.image == 0, 1000, 900))
    np.testing.assert_allclose(plan.reduction, plan.regions("real")[1] / 64)


def test_any_resolution_takes_the_largest_square_of_each_image() -> None:
    plan = plan_crops(real=images_of((4000, 3000)), fake=images_of((1000, 1500)), count=300, patch_px=64)
    assert set(plan.real.square) == {3000}
    assert set(plan.fake.square) == {1000}
    # The square moves along the longer side alone.
    assert set(plan.real.square_xy[:, 1]) == set(plan.fake.square_xy[:, 0]) == {0}
    assert plan.real.square_xy[:, 0].max() > 900
    assert plan.scale_px.max() <= 1000


def test_scales_and_places_are_uniform() -> None:
    plan = plan_crops(real=images_of((900, 900)), fake=images_of((900, 900)), count=20_000, patch_px=100, size_max=500)
    counts, _ = np.histogram(plan.scale_px, bins=8, range=(100, 500))
    assert counts.min() > 0.9 * 20_000 / 8
    room = plan.scale_px > 150
    places = plan.window_xy[room] / (plan.scale_px[room, None] - 100)
    assert np.abs(places.mean(axis=0) - 0.5).max() < 0.01
    assert places.min() == 0
    assert places.max() == 1


def test_images_are_used_alike_and_paired_at_random() -> None:
    plan = plan_crops(real=images_of(*[(99, 99)] * 7), fake=images_of(*[(99, 99)] * 3), count=1000, patch_px=64)
    assert set(np.bincount(plan.real.image)) == {142, 143}
    assert set(np.bincount(plan.fake.image)) == {333, 334}
    assert len(Counter(zip(plan.real.image, plan.fake.image, strict=True))) == 21


def test_what_is_not_resized_lies_on_whole_pixels() -> None:
    plan = plan_crops(
        real=images_of((777, 777)), fake=images_of((777, 777)), count=50, patch_px=64, size_min=777, size_max=777
    )
    corners, fields = plan.regions("real")
    assert (fields == 64).all()
    assert (corners == np.floor(corners)).all()


def test_fifty_thousand_crops_of_whole_slides_are_planned() -> None:
    slides = images_of(*[(40_000, 70_000)] * 20)
    plan = plan_crops(real=slides, fake=slides, protocol="paired", patch_px=1024)
    assert len(plan) == 50_000
    assert plan.regions("fake")[0].max() > 60_000


@pytest.fixture
def plan() -> CropPlan:
    real, fake = images_of((300, 200), (400, 500), prefix="r"), images_of((256, 256), prefix="f")
    return plan_crops(real=real, fake=fake, protocol="paired", count=30, patch_px=64, white=WhiteRule(0.9), seed=3)


def test_a_plan_is_saved_and_loaded(plan: CropPlan, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan.npz")
    again = CropPlan.load(tmp_path / "plan.npz")
    assert again.sha256 == plan.sha256
    assert again.description == plan.description
    assert again.white == WhiteRule(0.9)
    assert [again.crop("fake", number) for number in range(30)] == [plan.crop("fake", number) for number in range(30)]
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.npz"]


def test_a_crop_is_told(plan: CropPlan) -> None:
    crop = plan.crop("real", 7)
    corners, fields = plan.regions("real")
    assert crop.image in ("r0", "r1")
    assert (crop.xy, crop.field) == ((corners[7, 0], corners[7, 1]), fields[7])
    assert (crop.size_px, crop.scale_px) == (64, plan.scale_px[7])


def test_the_checksum_depends_on_the_seed_and_on_every_crop(plan: CropPlan) -> None:
    moved = plan.window_xy.copy()
    moved[11, 0] ^= 1
    others = [replace(plan, seed=4), replace(plan, white=None), replace(plan, window_xy=moved)]
    assert len({plan.sha256, *(other.sha256 for other in others)}) == 4


def test_the_same_seed_gives_the_same_plan(plan: CropPlan) -> None:
    real, fake = images_of((300, 200), (400, 500), prefix="r"), images_of((256, 256), prefix="f")

    def sha256(seed: int) -> str:
        settings = {"count": 30, "patch_px": 64, "white": WhiteRule(0.9)}
        return plan_crops(real=real, fake=fake, protocol="paired", seed=seed, **settings).sha256

    assert sha256(3) == plan.sha256
    assert sha256(4) != plan.sha256


def test_a_plan_that_was_changed_or_damaged_is_refused(plan: CropPlan, tmp_path: Path) -> None:
    path = tmp_path / "plan.npz"
    plan.save(path)
    with np.load(path) as file:
        told = {key: file[key] for key in file.files}
    told["scale_px"] = told["scale_px"] + 1
    np.savez(path, **told)
    with pytest.raises(PlanError, match="damaged or was changed"):
        CropPlan.load(path)
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(PlanError, match="no crop plan"):
        CropPlan.load(path)
    plan.save(path)
    content = path.read_bytes()
    for position in range(40, len(content) - 20, len(content) // 40):
        path.write_bytes(content[:position] + bytes(reversed(range(236, 256))) + content[position + 20 :])
        try:
            assert CropPlan.load(path).sha256 == plan.sha256
        except PlanError as error:
            assert "damaged" in str(error)  # noqa: PT017 - some bytes of a zip file mean nothing
    path.write_bytes(b"PK nothing")
    with pytest.raises(PlanError, match="no crop plan"):
        CropPlan.load(path)
    with pytest.raises(PlanError, match="No such file"):
        CropPlan.load(tmp_path / "nowhere.npz")


def test_images_other_than_those_planned_for_are_refused(plan: CropPlan) -> None:
    plan.real.check(images_of((300, 200), (400, 500), prefix="r"), "real")
    with pytest.raises(PlanError, match="other sizes of r1"):
        plan.real.check(images_of((300, 200), (400, 501), prefix="r"), "real")
    with pytest.raises(PlanError, match="f1 on one side only"):
        plan.fake.check(images_of((256, 256), (256, 256), prefix="f"), "fake")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 1}, "count is 1, wanted a whole number of 2 or more"),
        ({"patch_px": 0}, "patch_px is 0, wanted a whole number of 1 or more"),
        ({"size_min": 32}, "patch_px <= size_min"),
        ({"size_min": 90, "size_max": 80}, "size_min <= size_max"),
        ({"seed": -1}, "seed is -1, wanted a whole number of 0 or more"),
        ({"protocol": "free"}, "any-resolution, paired, got free"),
        ({"size_min": 101}, r"1 of 2 images are smaller than 101 px: 0 \(100 x 300 px\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_crops(real=images_of((100, 300), (200, 200)), fake=images_of((200, 200)), **{"patch_px": 64} | settings)


def test_white_crops_are_known() -> None:
    glass = np.full((4, 10, 10, 3), (243, 242, 240), np.uint8)
    glass[1, :2] = (150, 80, 140)  # a fifth of it tissue
    glass[2] = (255, 225, 240)  # bright, but pink
    glass[3] = 120  # grey, but dark
    assert WhiteRule().is_white(glass).tolist() == [True, False, False, False]
    assert WhiteRule(share=0.8).is_white(glass).tolist() == [True, True, False, False]
    with pytest.raises(PlanError, match="share"):
        WhiteRule(0)
