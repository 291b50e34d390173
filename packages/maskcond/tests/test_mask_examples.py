from collections.abc import Sequence

import numpy as np
import pytest
import torch

from cdm_core import StageConfig, TrainingConfig, UnetConfig
from cdm_core.training.prepared_examples import PreparedExamples
from maskcond import (
    KIDNEY,
    KUMAR,
    KUMAR_BORDER,
    KUMAR_COLOURS,
    KUMAR_CONDITIONS,
    Augmentation,
    ClassBalance,
    ConditionError,
    Instances,
    LabelledImage,
    Labels,
    MaskChannels,
    MaskCodec,
    MaskError,
    MaskExamples,
    Shows,
    border_labels,
    colour_statistics,
)


def labelled_image(name: str, labels: Labels, **given: str) -> LabelledImage:
    """An image whose red is the labels."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    image[..., 0] = 255 * labels
    return LabelledImage(name, image, labels, given)


@pytest.fixture
def pairs() -> list[LabelledImage]:
    """Blobs of nuclei, 60 x 80 px."""
    images = []
    for seed in range(3):
        coarse = np.random.default_rng(seed).integers(2, size=(15, 20))
        labels = np.kron(coarse, np.ones((4, 4))).astype(np.uint8)
        images.append(labelled_image(f"image-{seed}", labels, tissue="Breast"))
    return images


def examples(pairs: Sequence[LabelledImage], **options: object) -> MaskExamples:
    settings = {"image_px": 16, "augmentation": Augmentation(crop_px=32), **options}
    return MaskExamples(pairs, MaskCodec(KUMAR), **settings)  # type: ignore[arg-type]


def stage(**changes: object) -> StageConfig:
    return StageConfig(unet=UnetConfig(dim=8, cond_images_channels=2), **{"image_px": 16, **changes})  # type: ignore[arg-type]


def test_mask_and_image_are_the_same_crop(pairs: list[LabelledImage]) -> None:
    augmentation = Augmentation(crop_px=32)
    drawn = [examples(pairs, augmentation=augmentation)[draw] for draw in range(20)]
    for example in drawn:
        assert example["image"].shape == (3, 16, 16)
        assert example["cond_images"].shape == (2, 16, 16)
        torch.testing.assert_close(example["image"][0], example["cond_images"][0])
        assert (example["cond_images"][1] == 1).all()
        assert "embedding" not in example
    assert len({example["image"].numpy().tobytes() for example in drawn}) == 20


@pytest.mark.parametrize("crop_px", [None, 7])
@pytest.mark.parametrize("image_px", [8, 16])
def test_every_stage_sees_the_mask_at_its_size_and_crop(
    pairs: list[LabelledImage], crop_px: int | None, image_px: int
) -> None:
    training = TrainingConfig(1, 1, crop_px=crop_px)
    prepared = PreparedExamples(stage(image_px=image_px), training, examples(pairs))
    side = crop_px or image_px
    for draw in range(10):
        batch = prepared[draw]
        assert batch["cond_images"].shape == (2, side, side)
        red, mask = (batch["x0"][0] + 1) / 2, batch["cond_images"][0]
        # enlarged or made smaller by different filters, but in the same place
        assert float((red - mask).abs().mean()) < (1e-6 if image_px == 16 else 0.15)


def test_a_draw_is_always_the_same(pairs: list[LabelledImage]) -> None:
    options = {"conditions": KUMAR_CONDITIONS, "drop_condition": 0.5, "balance": ClassBalance(0.5)}
    for draw in (0, 7):
        first, second = (examples(pairs, **options)[draw] for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        other = examples(pairs, seed=1, **options)[draw]
        assert not torch.equal(first["image"], other["image"])


def test_no_mask_is_not_an_empty_mask(pairs: list[LabelledImage]) -> None:
    channels = MaskChannels(MaskCodec(KIDNEY))
    nothing, empty = (channels.encode(labels, 8) for labels in (None, np.zeros((20, 20), np.uint8)))
    assert not nothing.any()
    assert not empty[:4].any()
    assert (empty[4] == 1).all()
    unannotated = [LabelledImage(each.name, each.image) for each in pairs]
    for blank in (examples(unannotated), examples(pairs, blank=True)):
        example = blank[0]
        assert not example["cond_images"].any()
        torch.testing.assert_close(example["image"], examples(pairs)[0]["image"])  # the same crops


def test_conditions_are_told_and_dropped_one_by_one(pairs: list[LabelledImage]) -> None:
    plain = examples(pairs, conditions=KUMAR_CONDITIONS)[0]["embedding"].numpy()
    assert KUMAR_CONDITIONS.decode(plain) == {"tissue": "Breast", "disease": None}
    both = [LabelledImage("a", pairs[0].image, None, {"tissue": "Colon", "disease": "Colon adenocarcinoma"})]
    dropped = examples(both, conditions=KUMAR_CONDITIONS, drop_condition=0.5)
    seen = {tuple(KUMAR_CONDITIONS.decode(dropped[draw]["embedding"].numpy()).values()) for draw in range(40)}
    assert seen == {(tissue, disease) for tissue in ("Colon", None) for disease in ("Colon adenocarcinoma", None)}
    with pytest.raises(ConditionError, match="unknown tissue 'Brest'; did you mean 'Breast'"):
        examples([labelled_image("a", np.zeros((40, 40), np.uint8), tissue="Brest")], conditions=KUMAR_CONDITIONS)[0]


@pytest.mark.parametrize("shows", ["distances", "points"])
def test_examples_show_distances_or_points_unless_they_are_blank(nuclei: Instances, shows: Shows) -> None:
    labels = border_labels(nuclei)[:32, :32]
    pairs, codec = [LabelledImage("nuclei", np.zeros((32, 32, 3), np.uint8), labels)], MaskCodec(KUMAR_BORDER)
    whole = Augmentation(crop_px=32, dihedral=False)
    shown, blank = (
        MaskExamples(pairs, codec, image_px=16, augmentation=whole, shows=shows, blank=blank)[0]["cond_images"]
        for blank in (False, True)
    )
    assert torch.equal(shown, MaskChannels(codec, shows).encode(labels, 16))
    assert blank.shape == shown.shape
    assert not blank.any()


def stained(strength: float) -> LabelledImage:
    """Noise of even colour: all of its crops have about the colours of the whole."""
    values = np.random.default_rng(0).integers(60, 200, size=(120, 120, 3)) / 255
    return LabelledImage(f"{strength}", np.rint(255 * values**strength).astype(np.uint8))


def test_colours_are_measured_from_the_image_and_follow_its_augmentation() -> None:
    images = [stained(1.0), stained(1.5)]
    names = [part.name for part in KUMAR_COLOURS.parts[2:]]
    plain = examples(images, conditions=KUMAR_COLOURS, augmentation=Augmentation(crop_px=32))
    given = {tuple(KUMAR_COLOURS.decode(plain[i]["embedding"].numpy())[name] for name in names) for i in range(8)}
    wanted = {tuple(colour_statistics(each.image).values()) for each in images}
    np.testing.assert_allclose(sorted(given), sorted(wanted), rtol=1e-5)
    changing = examples(
        images[:1], conditions=KUMAR_COLOURS, augmentation=Augmentation(crop_px=32, colour=0.3), image_px=32
    )
    strengths = set()
    for number in range(4):
        pixels = np.rint(255 * changing[number]["image"].numpy().transpose(1, 2, 0)).astype(np.uint8)
        given = KUMAR_COLOURS.decode(changing[number]["embedding"].numpy())
        assert {name: given[name] for name in names} == pytest.approx(colour_statistics(pixels), rel=0.06)
        strengths.add(given["red_mean"])
    assert max(strengths) > 1.2 * min(strengths)


def test_colours_are_dropped_together() -> None:
    dropped = examples([stained(1.0)], conditions=KUMAR_COLOURS, drop_condition=0.5)
    missing = []
    for number in range(20):
        given = KUMAR_COLOURS.decode(dropped[number]["embedding"].numpy())
        missing.append({given[part.name] is None for part in KUMAR_COLOURS.parts[2:]})
    assert {True} in missing
    assert {False} in missing
    assert {True, False} not in missing


def rare() -> list[LabelledImage]:
    """Tubuli everywhere; of glomeruli one, of 6 x 6 px, in one of four images; no arteries at all."""
    images = []
    for number in range(4):
        labels = np.zeros((200, 200), np.uint8)
        labels[::3] = 1
        if number == 2:
            labels[0:6, 150:156] = 4
        images.append(labelled_image(str(number), labels))
    return images


def share_with_glomeruli(balance: ClassBalance, draws: int = 300) -> float:
    drawn = MaskExamples(rare(), MaskCodec(KIDNEY), image_px=32, augmentation=Augmentation(crop_px=32), balance=balance)
    return float(np.mean([bool(drawn[draw]["cond_images"][3].any()) for draw in range(draws)]))


def test_balance_shows_rare_structures_more_often() -> None:
    # By chance: 1 image of 4, 6 of 169 rows, and 37 of 169 columns to begin a crop at.
    assert share_with_glomeruli(ClassBalance(0.0)) < 0.02
    # Half of the crops are drawn round one of the two classes that there are.
    assert 0.19 < share_with_glomeruli(ClassBalance(0.5)) < 0.31
    assert 0.42 < share_with_glomeruli(ClassBalance(1.0)) < 0.58


def test_what_cannot_be_drawn_is_told(pairs: list[LabelledImage]) -> None:
    with pytest.raises(MaskError, match=r"image-[0-2]: wanted an image of at least 64 x 64 px, got 80 x 60"):
        examples(pairs, augmentation=Augmentation(crop_px=64))[0]
    with pytest.raises(MaskError, match=r"wanted crops of at least image_px = 16, got crop_px = None"):
        examples(pairs, augmentation=Augmentation())
    with pytest.raises(MaskError, match=r"wanted crops of at least image_px = 16, got crop_px = 8"):
        examples(pairs, augmentation=Augmentation(crop_px=8))
    with pytest.raises(MaskError, match="no image to train on"):
        examples([])
    with pytest.raises(MaskError, match="image-0: unknown class numbers 2"):
        examples([labelled_image("image-0", np.full((40, 40), 2, np.uint8))])[0]
    with pytest.raises(MaskError, match="unknown class numbers 2"):
        examples([labelled_image("image-0", np.full((40, 40), 2, np.uint8))], balance=ClassBalance(1.0))
    with pytest.raises(ConditionError, match=r"wanted drop_condition in \[0, 1\], got 2"):
        examples(pairs, drop_condition=2)
    with pytest.raises(MaskError, match=r"wanted a share in \[0, 1\], got 2"):
        ClassBalance(2)
