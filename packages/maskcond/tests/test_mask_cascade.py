import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_core import Cascade, CheckpointError, ConfigError
from maskcond import (
    KIDNEY,
    KUMAR,
    KUMAR_CONDITIONS,
    ConditionError,
    Labels,
    MaskCascade,
    MaskError,
    sample_images,
    widen_for_masks,
)

Make = Callable[..., Cascade]
BREAST = {"tissue": "Breast"}


@pytest.fixture
def masks() -> list[Labels]:
    return list(np.random.default_rng(0).integers(2, size=(3, 32, 32)).astype(np.uint8))


@pytest.fixture
def model(tiny_cascade: Make) -> MaskCascade:
    """Widened, then with random weights where they are zero, so that masks and conditions matter."""
    model = widen_for_masks(tiny_cascade(), KUMAR, KUMAR_CONDITIONS)
    for unet in model.cascade.unets:
        unet.init_conv.weight[:, :2] = 0.3 * torch.randn(8, 2, 7, 7, generator=torch.Generator().manual_seed(1))
        weight = unet.to_text_non_attn_cond[-1].weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    return model


def test_an_image_does_not_depend_on_its_batch(model: MaskCascade, masks: list[Labels]) -> None:
    given = [BREAST, {}, {"tissue": "Colon", "disease": "Colon adenocarcinoma"}]
    seeds = [5, 6, 7]
    one, many = (list(sample_images(model, masks, given, variants=2, seeds=seeds, batch_size=size)) for size in (1, 4))
    assert [(each.mask, each.variant) for each in many] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert [each.given for each in many[::2]] == given
    for alone, together in zip(one, many, strict=True):
        assert alone.image.shape == (16, 16, 3)
        assert alone.image.dtype == np.uint8
        assert np.abs(alone.image.astype(int) - together.image).max() <= 1
    (last,) = sample_images(model, masks[2:], given[2:], seeds=[7])
    assert np.abs(last.image.astype(int) - many[4].image).max() <= 1
    assert (many[0].image != many[1].image).mean() > 0.5


def test_mask_conditions_and_guidance_matter(model: MaskCascade, masks: list[Labels]) -> None:
    def image(mask: Labels | None, given: dict[str, str] | None, **options: float) -> torch.Tensor:
        return model.sample(
            [mask], [torch.Generator().manual_seed(3)], given=None if given is None else [given], **options
        )

    reference = image(masks[0], BREAST)
    torch.testing.assert_close(image(np.kron(masks[0], np.ones((3, 3), np.uint8)), BREAST), reference)
    others = [
        image(masks[1], BREAST),
        image(None, BREAST),
        image(np.zeros((32, 32), np.uint8), BREAST),
        image(masks[0], {}),
        image(masks[0], None),
        image(masks[0], {"tissue": "Bladder"}),
        image(masks[0], BREAST, guidance=3.0),
    ]
    everything = [reference, *others]
    for i, first in enumerate(everything):
        for second in everything[:i]:
            assert (first - second).abs().max() > 1e-3


def test_one_mask_as_every_tissue(model: MaskCascade, masks: list[Labels]) -> None:
    tissues = list(KUMAR_CONDITIONS.each("tissue"))
    drawn = list(sample_images(model, masks[:1] * 7, tissues, seeds=[7] * 7))
    assert [each.given for each in drawn] == tissues
    assert len({each.image.tobytes() for each in drawn}) == 7


def test_a_model_is_saved_and_loaded(model: MaskCascade, masks: list[Labels], tmp_path: Path) -> None:
    model.provenance["steps"] = 7
    model.save(tmp_path / "model")
    loaded = MaskCascade.load(tmp_path / "model")
    assert (loaded.codec, loaded.conditions) == (model.codec, KUMAR_CONDITIONS)
    assert loaded.provenance == {"data": "noise", "steps": 7}
    before, after = (list(sample_images(each, masks, [BREAST] * 3)) for each in (model, loaded))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(before, after, strict=True))


def test_a_model_without_conditions(tiny_cascade: Make, masks: list[Labels], tmp_path: Path) -> None:
    widen_for_masks(tiny_cascade(), KIDNEY).save(tmp_path)
    loaded = MaskCascade.load(tmp_path)
    assert loaded.conditions is None
    assert loaded.codec.classes == KIDNEY
    with pytest.raises(ConditionError, match="trained without conditions"):
        loaded.sample(masks[:1], [torch.Generator()], given=[BREAST])
    with pytest.raises(ValueError, match="guidance weighs an embedding"):
        list(sample_images(loaded, masks, guidance=2.0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("[[classes]]", "[[clases]]"), ConfigError, r"unknown key 'clases'; did you mean 'classes'\?"),
        (("mask-cascade", "cascade"), CheckpointError, "holds a model of kind 'cascade', wanted 'mask-cascade'"),
        (("110", "300"), ConfigError, "wanted a colour of three numbers in 0 to 255"),
        (('"Bladder"', '"Breast"'), ConfigError, "wanted different values"),
        (('    "Bladder",\n', ""), CheckpointError, "has text_embed_dim = 18; the conditions need 17"),
    ],
)
def test_a_model_file_that_does_not_fit_is_refused(
    model: MaskCascade, tmp_path: Path, change: tuple[str, str], error: type[Exception], message: str
) -> None:
    model.save(tmp_path)
    path = tmp_path / "model.toml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    tomllib.loads(path.read_text())
    with pytest.raises(error, match=message) as raised:
        MaskCascade.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_model_folder_that_is_not_whole_is_refused(model: MaskCascade, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "cascade" / "stage-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights not found"):
        MaskCascade.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"it has no model\.toml"):
        MaskCascade.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variants": 0}, "variants and batch_size are at least 1, got 0 and 16"),
        ({"batch_size": 0}, "variants and batch_size are at least 1"),
        ({"seeds": [1]}, "each mask has a seed of its own from 0 up, got 1 for 3 masks"),
        ({"seeds": [1, 2, -3]}, "each mask has a seed of its own from 0 up"),
        ({"given": [BREAST]}, "each mask has conditions of its own, got 1 for 3 masks"),
        ({"given": [BREAST, {}, {"tissue": "Brest"}]}, "unknown tissue 'Brest'; did you mean 'Breast'"),
        ({"given": [BREAST, {}, {"organ": "Breast"}]}, "unknown condition 'organ'"),
    ],
)
def test_wrong_requests_are_refused(
    model: MaskCascade, masks: list[Labels], options: dict[str, object], message: str
) -> None:
    with pytest.raises((MaskError, ConditionError), match=message):
        list(sample_images(model, masks, **options))  # type: ignore[arg-type]


def test_wrong_masks_are_refused(model: MaskCascade, masks: list[Labels]) -> None:
    with pytest.raises(MaskError, match=r"unknown class numbers 2; known are 0 \(background\) to 1: nuclei"):
        list(sample_images(model, [masks[0] * 2]))
    with pytest.raises(MaskError, match="wanted a square mask, got 32 x 20 px"):
        list(sample_images(model, [masks[0][:20]]))
    with pytest.raises(MaskError, match="each image has a mask and a generator, got 3 and 1"):
        model.sample(masks, [torch.Generator()])
