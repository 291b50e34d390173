from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from cdm_core import Cascade
from maskcond import (
    KIDNEY,
    KUMAR,
    KUMAR_BORDER,
    ClassSet,
    Instances,
    Labels,
    MaskCascade,
    MaskChannels,
    MaskCodec,
    MaskError,
    MaskInput,
    Shows,
    border_labels,
    distance_map,
    instances_from_borders,
    point_map,
    resize_by_area,
    widen_for_masks,
)

Make = Callable[..., Cascade]
SHOWS = get_args(Shows)
CODEC = MaskCodec(KUMAR_BORDER)


@pytest.fixture
def labels(nuclei: Instances) -> Labels:
    return border_labels(nuclei)[:160, :160]


def pair_of_nuclei(*, apart: bool) -> Instances:
    """Two nuclei of 20 px that touch, or one of the same outline."""
    instances = np.zeros((32, 48), np.int32)
    instances[6:26, 4:24] = 1
    instances[6:26, 24:44] = 1 + apart
    return np.pad(instances, ((8, 8), (0, 0)))


def test_a_distance_map_is_one_more_channel(labels: Labels) -> None:
    plain, shown = MaskChannels(CODEC), MaskChannels(CODEC, "distances")
    assert (plain.count, shown.count) == (3, 4)
    distances = distance_map(instances_from_borders(labels))
    for side in (160, 40):
        channels = shown.encode(labels, side)
        assert torch.equal(channels[[0, 1, 3]], plain.encode(labels, side))
        np.testing.assert_array_equal(channels[2], resize_by_area(distances[None], (side, side))[0])


def test_touching_nuclei_stay_apart_at_a_quarter_of_the_scale() -> None:
    one, two = (
        MaskChannels(CODEC, "distances").encode(border_labels(pair_of_nuclei(apart=apart)), 12)[2, 6]
        for apart in (False, True)
    )
    assert one[5:7].min() > 0.7  # the middle, where the two touch
    assert two[5:7].max() < 0.4
    assert two[[3, 8]].min() > 0.7


def test_each_nucleus_is_a_point_whatever_its_size(nuclei: Instances, labels: Labels) -> None:
    shown = MaskChannels(CODEC, "points")
    assert shown.count == 2
    points = shown.encode(labels, 80)
    touching = shown.encode(border_labels(pair_of_nuclei(apart=True)), 48)[0]
    assert touching[23, 13] > 0.9
    assert touching[23, 33] > 0.9
    assert touching[23, 23] < 0.01
    assert points[0].max() > 0.95
    instances = instances_from_borders(labels)
    dots = np.zeros_like(labels)
    for number in range(1, instances.max() + 1):
        row, col = np.argwhere(instances == number).mean(axis=0)
        dots[round(row), round(col)] = 1
    assert (points - shown.encode(dots, 80)).abs().max() < 0.2  # half a pixel of 160 is a quarter of 80


def test_points_are_where_the_nuclei_are_at_any_size() -> None:
    instances = np.zeros((40, 60), np.int32)
    instances[8:12, 40:44] = 7
    assert np.unravel_index(point_map(instances, (20, 30)).argmax(), (20, 30)) in [(4, 20), (5, 21), (4, 21), (5, 20)]
    far = point_map(instances, (40, 60))
    assert far[10, 42] == pytest.approx(np.exp(-(0.5**2 + 0.5**2) / (2 * 2.0**2)), abs=1e-6)
    assert not point_map(np.zeros((4, 4), np.int32), (8, 8)).any()


@pytest.mark.parametrize("shows", SHOWS)
def test_no_mask_is_all_zeros_and_background_is_not(shows: Shows) -> None:
    shown = MaskChannels(CODEC, shows)
    nothing, background = (shown.encode(mask, 8) for mask in (None, np.zeros((20, 20), np.uint8)))
    assert not nothing.any()
    assert not background[:-1].any()
    assert (background[-1] == 1).all()


@pytest.mark.parametrize("shows", SHOWS)
@pytest.mark.parametrize("classes", [KUMAR, KIDNEY])
def test_classes_that_do_not_separate_nuclei_are_refused(classes: ClassSet, shows: Shows, tiny_cascade: Make) -> None:
    for make in (
        lambda: MaskChannels(MaskCodec(classes), shows),
        lambda: MaskInput.of(classes, shows=shows),
        lambda: widen_for_masks(tiny_cascade(), classes, shows=shows),
    ):
        with pytest.raises(ValueError, match=f"to show {shows}, got the classes .*; choose other classes"):
            make()


@pytest.mark.parametrize("shows", SHOWS)
def test_wrong_labels_are_refused(labels: Labels, shows: Shows) -> None:
    with pytest.raises(MaskError, match="unknown class numbers 3"):
        MaskChannels(CODEC, shows).encode(np.full((8, 8), 3, np.uint8), 8)
    with pytest.raises(MaskError, match="wanted a square mask, got 160 x 20 px"):
        MaskChannels(CODEC, shows).encode(labels[:20], 8)


@pytest.mark.parametrize("shows", SHOWS)
def test_a_widened_cascade_ignores_the_channels_and_is_saved_and_loaded(
    labels: Labels, tiny_cascade: Make, tmp_path: Path, shows: Shows
) -> None:
    def sample(model: MaskCascade) -> torch.Tensor:
        return model.sample([labels], [torch.Generator().manual_seed(1)])

    cascade = tiny_cascade()
    model = widen_for_masks(cascade, KUMAR_BORDER, shows=shows)
    wanted = cascade.sample([torch.Generator().manual_seed(1)])[-1]
    torch.testing.assert_close(sample(model), wanted, atol=1e-5, rtol=0)
    for unet in model.cascade.unets:  # as if trained: each channel matters
        count = model.input.channels.count
        unet.init_conv.weight[:, :count] = 0.3 * torch.randn(8, count, 7, 7, generator=torch.Generator().manual_seed(2))
    assert (sample(model) - wanted).abs().max() > 1e-2
    model.save(tmp_path)
    loaded = MaskCascade.load(tmp_path)
    assert loaded.input == model.input
    assert torch.equal(sample(loaded), sample(model))
    text = (tmp_path / "model.toml").read_text()
    (tmp_path / "model.toml").write_text(text.replace(f'shows = "{shows}"\n', ""))
    with pytest.raises(ValueError, match=rf"takes {count} channels of images; masks have 3"):
        MaskCascade.load(tmp_path)
