from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from urcdm import CanvasError, RunSettings, SlideRun, Urcdm
from urcdm.canvas.canvas import StageCanvas
from urcdm.results.level_quality import LevelQuality
from wsi_tiling import TissueRule, read_region

pytestmark = pytest.mark.once

MakeModel = Callable[..., Urcdm]
SIDE = 256
SETTINGS = RunSettings((SIDE, SIDE))
Pixels = NDArray[np.uint8]


def texture(seed: int = 0, sigma: float = 24) -> Pixels:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE, 3)), (sigma, sigma, 0))
    return np.clip(110 + 25 * noise / noise.std(), 0, 190).astype(np.uint8)


def reduced(picture: Pixels, side: int) -> Pixels:
    return read_region(picture, (0, 0, *picture.shape[1::-1]), side, (0, 0, 0))


def paint(
    model: Urcdm, folder: Path, low: Pixels, medium: Pixels, high: Pixels, shade: Pixels | None = None
) -> SlideRun:
    """A run whose levels are these pictures of 16, 64 and 256 px; `shade` is added to each patch of the last."""
    run = SlideRun.open(folder, model, SETTINGS)
    for level, picture in zip(run.levels(), (low, medium, high), strict=True):
        for position in level.geometry.grid:
            x, y = level.geometry.grid.origin(*position)
            patch = picture[y : y + 16, x : x + 16]
            level.picture.write(position, patch + shade[position] if picture is high and shade is not None else patch)
    return run


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Urcdm:
    return make_model()


@pytest.fixture(scope="module")
def smooth(model: Urcdm, tmp_path_factory: pytest.TempPathFactory) -> SlideRun:
    """A picture without patches."""
    picture = texture()
    return paint(model, tmp_path_factory.mktemp("smooth"), reduced(picture, 16), reduced(picture, 64), picture)


def test_a_picture_without_patches_has_no_seams_and_agrees_with_itself(smooth: SlideRun) -> None:
    low, medium, high = smooth.quality()
    assert (low.seam_columns, low.seam_rows, low.coherence, low.glass_step) == (None,) * 4
    assert (low.sampled, medium.sampled, high.sampled) == (1, 25, 441)
    assert high.looked_at == 441
    for level in (medium, high):
        assert level.coherence == pytest.approx(1, abs=0.002)
        assert level.glass_step is None
    assert high.seam_columns == pytest.approx(1, abs=0.05)
    assert high.seam_rows == pytest.approx(1, abs=0.05)


def test_every_pixel_counts_once(model: Urcdm, tmp_path: Path) -> None:
    picture = texture(sigma=1)
    high = paint(model, tmp_path, picture, picture, picture).quality()[-1]
    assert high.sharpness == pytest.approx(float(np.abs(np.diff(picture.astype(np.float32).mean(axis=2))).mean()))


def test_patches_of_other_shades_show_by_as_much_as_they_differ(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model(overlap=0.0)
    y, x = np.mgrid[:SIDE, :SIDE]
    chequered = np.repeat(np.where((x + y) % 2, 110, 100)[..., None], 3, axis=2).astype(np.uint8)
    darker_columns = np.broadcast_to(np.where(np.arange(16) % 2, 30, 0).astype(np.uint8), (16, 16))
    run = paint(model, tmp_path, chequered, chequered, chequered, darker_columns)
    high = run.quality()[-1]
    # steps of 10 everywhere; at 15 borders 30 more or less 10, as the two shades meet
    assert high.seam_columns == pytest.approx(3, abs=0.05)
    assert high.seam_rows == 1


def test_another_picture_in_a_level_does_not_agree(model: Urcdm, tmp_path: Path) -> None:
    picture = texture()
    run = paint(model, tmp_path, reduced(picture, 16), reduced(texture(seed=1), 64), picture)
    _, medium, high = run.quality()
    assert medium.coherence is not None and medium.coherence < 0  # noqa: PT018
    assert high.coherence is not None and high.coherence < 0  # noqa: PT018


def half_glass(make_model: MakeModel, folder: Path, glass: int) -> tuple[LevelQuality, ...]:
    """Figures of a slide with tissue on the left; sampled patches show the glass beside it in another shade."""
    model = make_model(tissue=TissueRule(min_hue=0.5, min_saturation=0.05, erode_px=1, dilate_px=5))
    left = np.arange(SIDE)[None, :, None] < 96
    tint = np.array([160, 80, 150])
    low, high = (
        np.where(left, tint, np.array([shade] * 3)).repeat(SIDE, axis=0).astype(np.uint8) for shade in (230, glass)
    )
    medium = reduced(low, 64)
    run = paint(model, folder, reduced(low, 16), medium, low)
    level = run.levels()[-1]
    for position in level.geometry.grid:
        x, y = level.geometry.grid.origin(*position)
        if x < 104:  # a patch that holds tissue, or lies less than two pixels of the level above beside it
            level.picture.write(position, high[y : y + 16, x : x + 16])
    return run.quality()


def test_another_colour_of_the_glass_shows_and_is_no_seam(make_model: MakeModel, tmp_path: Path) -> None:
    same, darker = (half_glass(make_model, tmp_path / str(glass), glass)[-1] for glass in (230, 220))
    assert same.sampled == 9 * 21
    assert (same.glass_step, darker.glass_step) == (0, 10)
    assert same.seam_columns == darker.seam_columns


def test_few_patches_are_looked_at_and_always_the_same(smooth: SlideRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int, int, int]] = []
    whole = StageCanvas.picture

    def spy(self: StageCanvas, *window: int) -> Pixels:
        if self.size_px == (SIDE, SIDE):
            read.append(window)
        return whole(self, *window)

    monkeypatch.setattr(StageCanvas, "picture", spy)
    first = smooth.quality(most_px=10 * 16 * 16)
    windows, read[:] = list(read), []
    assert smooth.quality(most_px=10 * 16 * 16) == first
    assert read == windows
    assert first[-1].looked_at == 10
    assert len(windows) == 20  # for steps, and for coherence
    assert max(width * height for _, _, width, height in windows) <= 28**2
    assert len({window[:2] for window in windows[::2]}) == 10


def test_a_canvas_that_is_not_finished_is_refused(model: Urcdm, tmp_path: Path) -> None:
    run = SlideRun.open(tmp_path, model, SETTINGS)
    with pytest.raises(CanvasError, match="level 'low' is not finished"):
        run.quality()
