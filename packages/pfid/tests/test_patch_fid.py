from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from pfid.crops.features import CropFeatures, measure_crops
from pfid.crops.patch_fid import PatchFid, patch_fid, patch_metrics
from pfid.crops.plan import CropPlan, WhiteRule
from pfid.crops.planning import plan_crops
from pfid.errors import FeatureError, MetricError, PlanError
from pfid.features.extractors import CallableExtractor
from pfid.images.sources import Image, Images, array_images
from pfid.metrics.frechet import frechet_distance
from pfid.progress import WorkProgress

LANCZOS = PIL.Image.Resampling.LANCZOS


def colours_and_edges(patches: Image) -> NDArray[np.float64]:
    """Six features: mean colours, and how rough the patch is in each."""
    values = patches.astype(float)
    return np.concatenate([values.mean(axis=(1, 2)), np.abs(np.diff(values, axis=2)).mean(axis=(1, 2))], axis=1)


EXTRACTOR = CallableExtractor(colours_and_edges, "colours and edges", 6)


def tissue(width: int, height: int, seed: int = 0) -> Image:
    """Noise that is coarse and fine, brighter to the right."""
    rng = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(rng.integers(60, 200, (height // 16, width // 16, 3), dtype=np.uint8))
    fine = rng.normal(scale=12, size=(height, width, 3)) + np.linspace(0, 40, width)[None, :, None]
    return (np.asarray(coarse.resize((width, height))) + fine).clip(0, 255).astype(np.uint8)


def blurred(image: Image, factor: int) -> Image:
    small = PIL.Image.fromarray(image).reduce(factor)
    return np.asarray(small.resize((image.shape[1], image.shape[0])))


def planned(real: Images, fake: Images, **settings: Any) -> CropPlan:
    return plan_crops(real=real, fake=fake, **{"count": 120, "patch_px": 32} | settings)


def measured(real: Images, fake: Images, plan: CropPlan, **settings: Any) -> PatchFid:
    defaults = {"extractor": EXTRACTOR, "workers": 0, "resamples": 0}
    return patch_fid(real=real, fake=fake, plan=plan, **defaults | settings)


def drawn(real: NDArray[Any], fake: NDArray[Any], images: int = 1, white: NDArray[np.bool_] | None = None) -> Any:
    """Features that come of no crops, of so many images a side."""
    side = Images(*(tuple(map(str, range(images))), ((64, 64),) * images, (None,) * images, str))  # type: ignore[arg-type]
    plan = plan_crops(real=side, fake=side, count=len(real), patch_px=16, white=None if white is None else WhiteRule())
    if white is None:
        white = np.zeros((2, len(real)), np.bool_)
    return CropFeatures(plan, real.astype(np.float32), fake.astype(np.float32), white, "drawn", "none")


def metrics(features: CropFeatures, **settings: Any) -> PatchFid:
    return patch_metrics(features, **settings).result()


def test_it_is_the_frechet_distance_of_crops_of_pictures_resized_whole() -> None:
    pictures = {"real": tissue(200, 200), "fake": tissue(160, 160, 1)}
    sides = {side: array_images([picture]) for side, picture in pictures.items()}
    plan = planned(**sides)
    features = {}
    for side, picture in pictures.items():
        patches = []
        for scale, (x, y) in zip(plan.scale_px, plan.window_xy, strict=True):
            whole = np.asarray(PIL.Image.fromarray(picture).resize((scale, scale), LANCZOS))
            patches.append(whole[y : y + 32, x : x + 32])
        features[side] = colours_and_edges(np.stack(patches))
    found = measured(**sides, plan=plan).metric.value
    assert found == pytest.approx(frechet_distance(**features), rel=1e-3)


def test_a_figure_tells_what_it_takes_to_repeat_it() -> None:
    real, fake = array_images([tissue(200, 160)]), array_images([tissue(160, 160, 1)])
    plan = planned(real, fake, protocol="paired", size_max=100)
    metric = measured(real, fake, plan, resamples=5).metric
    assert (metric.n_real, metric.n_fake) == (120, 120)
    assert metric.extractor == "colours and edges"
    assert metric.resize == "crops by Lanczos; patches none"
    assert metric.plan == "paired, 32 px, scales from 32 px to 100"
    assert metric.plan_sha256 == plan.sha256
    assert metric.note == "interval over crops of one real image and crops of one generated image"
    other = measured(real, fake, planned(real, fake, size_max=100)).metric
    with pytest.raises(MetricError, match="plan"):
        metric.check_comparable(other)


def test_the_same_picture_on_both_sides_is_at_no_distance_and_told() -> None:
    images = array_images([tissue(160, 160)])
    found = measured(images, images, planned(images, images), resamples=3)
    assert found.metric.value == pytest.approx(0, abs=1e-6)
    assert found.metric.interval == pytest.approx((0, 0), abs=1e-6)
    assert "both sides are the same images" in (found.metric.note or "")


def test_the_more_blurred_the_further_and_most_so_at_the_finest_magnification() -> None:
    real = array_images([tissue(320, 320)])
    found = []
    for factor in (2, 4):
        fake = array_images([blurred(tissue(320, 320), factor)])
        found.append(measured(real, fake, planned(real, fake, count=400)))
    assert found[0].metric < found[1].metric
    finest, *_, coarsest = found[0].by_scale
    assert finest.metric.value > 2 * coarsest.metric.value


def test_neither_batches_nor_workers_change_it() -> None:
    real, fake = array_images([tissue(200, 200)]), array_images([tissue(160, 160, 1)])
    plan = planned(real, fake)
    alone = measured(real, fake, plan, batch_size=7)
    assert measured(real, fake, plan, batch_size=50, workers=1) == alone


def test_white_crops_are_left_out_in_pairs_if_asked() -> None:
    real = tissue(200, 200)
    real[:, 100:] = 244
    sides = {"real": array_images([real]), "fake": array_images([tissue(200, 200, 1)])}
    kept = measured(**sides, plan=planned(**sides))
    ruled = measured(**sides, plan=planned(**sides, white=WhiteRule(0.9)))
    assert kept.metric.n_real == 120
    assert 60 < (ruled.metric.n_real or 0) < 110
    assert ruled.metric.n_real == ruled.metric.n_fake
    assert f"{120 - (ruled.metric.n_real or 0)} of 120 pairs left out as white" in (ruled.metric.note or "")
    assert "0 generated" in (ruled.metric.note or "")
    with pytest.raises(MetricError, match="plan"):
        ruled.metric.check_comparable(kept.metric)


def test_nothing_is_left_when_all_is_white() -> None:
    glass = array_images([np.full((64, 64, 3), 250, np.uint8)])
    with pytest.raises(FeatureError, match=r"^0 crops"):
        measured(glass, glass, planned(glass, glass, white=WhiteRule()))


def test_magnifications_share_all_crops_in_order() -> None:
    real, fake = array_images([tissue(320, 320)]), array_images([tissue(320, 320, 1)])
    parts = measured(real, fake, planned(real, fake, count=90)).by_scale
    assert [part.metric.n_real for part in parts] == [23, 23, 22, 22]
    assert all(left.reduction[1] <= right.reduction[0] for left, right in pairwise(parts))
    # Seven crops are the fewest of six features.
    assert [part.metric.n_real for part in measured(real, fake, planned(real, fake, count=16)).by_scale] == [8, 8]
    alike = planned(real, fake, size_min=99, size_max=99)
    assert len(measured(real, fake, alike).by_scale) == 1


def test_extrapolation_has_no_bias_where_the_plain_value_has() -> None:
    rng = np.random.default_rng(0)
    spread, gap, dimensions = 1.3, 0.2, 16
    truth = dimensions * ((spread - 1) ** 2 + gap**2)
    plain, extrapolated = [], []
    for _ in range(16):
        shape = 400, dimensions
        found = metrics(drawn(rng.normal(size=shape), gap + spread * rng.normal(size=shape)), resamples=0)
        assert found.extrapolated is not None
        plain.append(found.metric.value - truth)
        extrapolated.append(found.extrapolated.value - truth)
        with pytest.raises(MetricError, match="name"):
            found.extrapolated.check_comparable(found.metric)
    assert np.mean(plain) > 0.2
    assert abs(np.mean(extrapolated)) < 0.25 * np.mean(plain)


def test_few_crops_are_not_extrapolated() -> None:
    rng = np.random.default_rng(0)
    assert metrics(drawn(rng.normal(size=(84, 16)), rng.normal(size=(84, 16))), resamples=0).extrapolated is None


@pytest.mark.parametrize("images", [1, 40])
def test_the_interval_is_as_wide_as_figures_scatter(images: int) -> None:
    rng = np.random.default_rng(1)
    values, widths = [], []
    for _ in range(40):
        # With many images, crops of one image are nearly alike: there are fewer independent ones than crops.
        own = rng.normal(scale=0.1 if images > 1 else 1, size=(2, 240, 3))
        features = drawn(*own, images=images)
        for side, planned_side in enumerate((features.plan.real, features.plan.fake)):
            shared = rng.normal(size=(images, 3)) if images > 1 else np.zeros((1, 3))
            own[side] += shared[planned_side.image]
        own[1, :, 0] += 1
        found = metrics(
            CropFeatures(features.plan, *own.astype(np.float32), features.white, "drawn", "none"), resamples=60
        ).metric
        assert found.interval is not None
        values.append(found.value)
        widths.append((found.interval[1] - found.interval[0]) / (2 * 1.96))
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.35)
    assert ("40 real images" in (found.note or "")) == (images > 1)


def test_the_same_plan_gives_the_same_interval() -> None:
    rng = np.random.default_rng(2)
    features = drawn(rng.normal(size=(50, 3)), rng.normal(size=(50, 3)))
    once, again = (metrics(features, resamples=20) for _ in range(2))
    assert once == again
    assert once.metric.n_real == 50


def test_too_few_crops_are_refused_with_the_number_needed() -> None:
    real, fake = array_images([tissue(200, 200)]), array_images([tissue(200, 200, 1)])
    plan = planned(real, fake, count=6)
    with pytest.raises(FeatureError, match=r"6 crops: .* takes 7 or more"):
        measured(real, fake, plan)
    few = measured(real, fake, plan, allow_few=True, resamples=4)
    assert np.isfinite(few.metric.value)
    assert [part.metric.n_real for part in few.by_scale] == [2, 2, 2]


def test_features_that_are_not_finite_are_refused() -> None:
    broken = CallableExtractor(lambda patches: np.full((len(patches), 6), np.nan), "broken", 6)
    images = array_images([tissue(200, 200)])
    with pytest.raises(FeatureError, match="not finite"):
        measured(images, images, planned(images, images), extractor=broken)


def test_features_are_kept_and_used_again(tmp_path: Path) -> None:
    real, fake = array_images([tissue(200, 200)]), array_images([tissue(160, 160, 1)])
    plan = planned(real, fake)
    sides: dict[str, Any] = {"real": real, "fake": fake, "plan": plan, "extractor": EXTRACTOR}
    measuring = measure_crops(**sides, folder=tmp_path / "kept", batch_size=50, workers=0)
    progress = list(measuring)
    assert progress[-1] == WorkProgress("fake crops", 120, 120)
    assert len(progress) == 8  # the start and three batches of each side
    features = measuring.result()
    again = CropFeatures.load(tmp_path / "kept")
    assert isinstance(again.real, np.memmap)
    assert metrics(again, resamples=5) == metrics(features, resamples=5)
    assert metrics(again, resamples=5) == measured(real, fake, plan, resamples=5)
    loaded = measure_crops(**sides, folder=tmp_path / "kept", workers=0)
    assert not list(loaded)
    np.testing.assert_array_equal(loaded.result().real, features.real)
    other = sides | {"plan": planned(real, fake, seed=9)}
    with pytest.raises(FeatureError, match="has features of other crops"):
        measure_crops(**other, folder=tmp_path / "kept", workers=0).result()


def test_crops_that_an_interrupted_call_has_measured_are_not_measured_again(tmp_path: Path) -> None:
    real, fake = array_images([tissue(200, 200)]), array_images([tissue(160, 160, 1)])
    plan = planned(real, fake, white=WhiteRule(0.01, min_level=150))
    seen: list[int] = []

    def counted(patches: Image) -> NDArray[np.float64]:
        seen.append(len(patches))
        return colours_and_edges(patches)

    counting = CallableExtractor(counted, "colours and edges", 6)

    def events(name: str, extractor: Any = counting) -> Any:
        sides: dict[str, Any] = {"real": real, "fake": fake, "plan": plan, "extractor": extractor}
        return measure_crops(**sides, folder=tmp_path / name, batch_size=50, workers=0)

    whole = events("whole").result()
    seen.clear()
    stopped = iter(events("stopped"))
    while next(stopped) != WorkProgress("fake crops", 50, 120):
        pass
    stopped.close()
    with pytest.raises(FeatureError, match="another extractor"):
        events("stopped", CallableExtractor(colours_and_edges, "another", 6)).result()
    resumed = events("stopped")
    first, *_ = resumed
    features = resumed.result()
    assert first == WorkProgress("real crops", 120, 120)
    assert sum(seen) == 240
    for name in ("real", "fake", "white"):
        np.testing.assert_array_equal(getattr(features, name), getattr(whole, name))
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "fake.npy",
        "features.json",
        "plan.npz",
        "real.npy",
        "white.npy",
    ]


def test_incomplete_or_foreign_features_are_refused(tmp_path: Path) -> None:
    images = array_images([tissue(200, 200)])
    plan = planned(images, images)
    sides: dict[str, Any] = {"real": images, "fake": images, "plan": plan, "extractor": EXTRACTOR}
    events = iter(measure_crops(**sides, folder=tmp_path, workers=0))
    next(events)
    events.close()  # type: ignore[attr-defined]
    with pytest.raises(FeatureError, match="no complete features"):
        CropFeatures.load(tmp_path)
    list(measure_crops(**sides, folder=tmp_path, workers=0))
    planned(images, images, seed=9).save(tmp_path / "plan.npz")
    with pytest.raises(FeatureError, match="not those of the plan"):
        CropFeatures.load(tmp_path)
    plan.save(tmp_path / "plan.npz")
    for damage in (b"", b"\x93NUMPY\x01\x00v\x00{'descr': ("):
        whole = (tmp_path / "real.npy").read_bytes()
        (tmp_path / "real.npy").write_bytes(damage + whole[len(damage) :] if damage else b"")
        with pytest.raises(FeatureError, match="damaged"):
            CropFeatures.load(tmp_path)
        (tmp_path / "real.npy").write_bytes(whole)
    (tmp_path / "features.json").write_text("{}")
    with pytest.raises(FeatureError, match="damaged"):
        CropFeatures.load(tmp_path)


def test_other_images_than_planned_for_are_refused(tmp_path: Path) -> None:
    images, other = array_images([tissue(200, 200)]), array_images([tissue(160, 160)])
    with pytest.raises(PlanError, match="fake images are not those of the plan"):
        measured(images, other, planned(images, images))
