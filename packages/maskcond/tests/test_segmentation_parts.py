import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskcond import KIDNEY, Instances, MaskError, aji
from maskcond.segmentation import NucleiTask, SegmentationError, SemanticTask
from maskcond.segmentation.extras import import_extra
from maskcond.segmentation.learning_rate import learning_rate
from maskcond.segmentation.small_unet.loss import dice_cross_entropy
from maskcond.segmentation.small_unet.tiles import mean_over_flips, predict_tiled, tile_starts

CPU = torch.device("cpu")


@given(tile=st.integers(1, 40), more=st.integers(0, 200), data=st.data())
def test_tiles_cover_the_axis_and_overlap(tile: int, more: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(tile + more, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == more
    assert all(0 < after - before <= tile - overlap for before, after in itertools.pairwise(starts))


@pytest.mark.parametrize("size", [(1, 1), (20, 50), (64, 64), (97, 130)])
def test_tiles_of_a_network_that_looks_at_one_pixel_leave_no_trace(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return (3 * batch[:, :2]).softmax(dim=1)

    shares = predict_tiled(image, predict, channels=2, tile_px=32, multiple=8, device=CPU)
    wanted = torch.from_numpy(image).movedim(-1, 0)[:2].float().div(127.5).sub(1).mul(3).softmax(dim=0)
    np.testing.assert_allclose(shares, wanted.numpy(), atol=1e-6)


def test_the_mean_over_flips_is_the_same_for_a_mirrored_image() -> None:
    kernel = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    images = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(1))

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(batch, kernel, padding=1)

    mean = mean_over_flips(predict, images)
    for axes in ((2,), (3,), (2, 3)):
        assert not torch.allclose(predict(images.flip(axes)).flip(axes), predict(images), atol=1e-3)
        torch.testing.assert_close(mean_over_flips(predict, images.flip(axes)).flip(axes), mean)


def test_the_network_sees_only_sizes_that_it_takes() -> None:
    seen = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape[2:]))
        return batch[:, :2]

    predict_tiled(np.zeros((13, 70, 3), np.uint8), network, channels=2, tile_px=32, multiple=8, device=CPU)
    assert set(seen) == {(16, 32)}


def test_loss_of_certainty_and_of_ignorance() -> None:
    labels = torch.tensor([[[0, 1], [2, 1]]])
    right = 50.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert dice_cross_entropy(right, labels).item() == pytest.approx(0, abs=1e-5)
    assert dice_cross_entropy(-right, labels).item() > 20
    # a third everywhere: Dice 2 (n / 3) / (4 / 3 + n) for a class of n of the four pixels
    dice = ((2 * 2 / 3) / (4 / 3 + 2) + (2 * 1 / 3) / (4 / 3 + 1)) / 2
    assert dice_cross_entropy(0 * right, labels).item() == pytest.approx(np.log(3) + 1 - dice, abs=1e-4)


def test_a_class_of_weight_matters_more() -> None:
    labels = torch.tensor([[[0, 1]]])
    logits = torch.tensor([[[[2.0, 2.0]], [[0.0, 0.0]]]])  # the second pixel is wrong
    plain, weighted = (dice_cross_entropy(logits, labels, torch.tensor(w)) for w in ((1.0, 1.0), (1.0, 5.0)))
    assert weighted > plain


def test_the_learning_rate_falls_from_first_to_last() -> None:
    rates = [learning_rate(share, first=1e-3, last=3e-6) for share in np.linspace(0, 1, 50)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(3e-6)
    assert all(before > after for before, after in itertools.pairwise(rates))


def test_nuclei_come_back_apart(nuclei: Instances) -> None:
    task = NucleiTask(min_area_px=0)
    labels = task.labels(nuclei)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert aji(truth=nuclei, predicted=task.mask(labels)) > 0.9


def test_specks_are_no_nuclei() -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[2:4, 2:4], labels[10:20, 10:20] = 2, 1
    assert NucleiTask(min_area_px=12).mask(labels).max() == 1
    assert NucleiTask(min_area_px=4).mask(labels).max() == 2


def test_kinds_of_tissue_stay_what_they_are() -> None:
    task = SemanticTask(KIDNEY)
    mask = np.array([[0, 1], [4, 2]])
    np.testing.assert_array_equal(task.mask(task.labels(mask)), mask)
    with pytest.raises(MaskError, match="unknown class numbers 5"):
        task.labels(mask + 1)


def test_task_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(MaskError, match="at least 1 px"):
        NucleiTask(border_px=0)


def test_torch_is_imported_when_it_is_needed() -> None:
    code = "import sys, maskcond.segmentation; sys.exit('torch' in sys.modules or 'nnunetv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_extra_is_told_in_a_line() -> None:
    with pytest.raises(SegmentationError, match=r"nnU-Net needs not_there, .* pip install 'maskcond\[nnunet\]'"):
        import_extra("not_there.at_all", extra="nnunet", use="nnU-Net")
