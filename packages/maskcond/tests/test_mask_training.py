import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cdm_core import Cascade, CascadeConfig, ConfigError, TrainingConfig
from cdm_core.distillation.finishing import FinishingConfig, FinishingPlan
from maskcond import (
    KUMAR,
    KUMAR_BORDER,
    KUMAR_COLOURS,
    KUMAR_CONDITIONS,
    Augmentation,
    Category,
    ConditionSet,
    Instances,
    LabelledImages,
    MaskCascade,
    MaskCodec,
    MaskError,
    MaskInput,
    MaskNetworkPlan,
    MaskPlan,
    Shows,
    border_labels,
    colour_statistics,
    mask_plan_text,
    picture_folder,
    read_mask_plan,
    sample_images,
    train_mask_cascade,
)

pytestmark = pytest.mark.once

Make = Callable[..., Cascade]
CONDITIONS = ConditionSet((Category("tissue", ("Colon", "Liver")),))
SHORT = TrainingConfig(2, 2, learning_rate=1e-3, log_every=1, sample_every=100)
FINISHING = FinishingPlan(SHORT, FinishingConfig(starts_at=0, rises_for=1, r1_every=2, widths=(8, 8)), steps=2)


@pytest.fixture
def pairs(tmp_path: Path) -> LabelledImages:
    """Red where the mask is set, blue elsewhere: blobs of 16 px."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for seed in range(2):
        labels = np.kron(np.random.default_rng(seed).integers(2, size=(6, 6)), np.ones((16, 16))).astype(np.uint8)
        image = np.where(labels[..., None], (220, 20, 20), (20, 20, 220)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray(labels).save(tmp_path / "labels" / f"{seed}.png")
    return picture_folder(tmp_path / "images", tmp_path / "labels", MaskCodec(KUMAR))


@pytest.fixture
def plan(tiny_cascade: Make) -> MaskPlan:
    stages = tiny_cascade().config.stages
    networks = tuple(MaskNetworkPlan(stage, SHORT, blank_training=replace(SHORT, steps=1)) for stage in stages)
    return MaskPlan(MaskInput.of(KUMAR, CONDITIONS), networks, Augmentation(crop_px=32))


def read_back(plan: MaskPlan, path: Path) -> MaskPlan:
    path.write_text(mask_plan_text(plan), encoding="utf-8")
    return read_mask_plan(path)


def weights(folder: Path) -> list[torch.Tensor]:
    return [value for unet in MaskCascade.load(folder / "model").cascade.unets for value in unet.state_dict().values()]


def test_masks_steer(tiny_cascade: Make, plan: MaskPlan, pairs: LabelledImages, tmp_path: Path) -> None:
    stage = plan.networks[0].stage
    training = replace(SHORT, steps=110, batch_size=8, learning_rate=6e-3, ema_decay=0.9, log_every=100)
    only_masks = MaskPlan(
        MaskInput.of(KUMAR),
        (MaskNetworkPlan(replace(stage, unet=replace(stage.unet, init_conv_kernel_size=3)), training),),
        plan.augmentation,
    )
    for _ in train_mask_cascade(only_masks, pairs, tmp_path / "run", device="cpu"):
        pass
    model = MaskCascade.load(tmp_path / "run" / "model")
    masks = list(np.kron(np.random.default_rng(9).integers(2, size=(8, 2, 2)), np.ones((4, 4))).astype(np.uint8))
    red = [each.image[..., 0] > each.image[..., 2] for each in sample_images(model, masks, steps=8)]
    right = [np.mean(found == mask) for found, mask in zip(red, masks, strict=True)]
    shuffled = [np.mean(found == mask) for found, mask in zip(red, masks[1:] + masks[:1], strict=True)]
    assert np.mean(right) > 0.85
    assert np.mean(shuffled) < 0.75


def test_a_resumed_run_makes_the_same_model(plan: MaskPlan, pairs: LabelledImages, tmp_path: Path) -> None:
    whole = list(train_mask_cascade(plan, pairs, tmp_path / "whole", device="cpu", provenance={"data": "blobs"}))
    names = ["8-blank", "8-pairs", "16-blank", "16-pairs"]
    assert list(dict.fromkeys(event.network for event in whole)) == names
    assert [event.training.step for event in whole] == [1, 1, 2] * 2
    assert [event.steps for event in whole] == [1, 2, 2] * 2
    resumed = []
    for stop in (2, None):
        events = train_mask_cascade(plan, pairs, tmp_path / "resumed", device="cpu", resume=True)
        resumed += list(islice(events, stop))
        events.close()  # type: ignore[attr-defined]
        assert (tmp_path / "resumed" / "model").exists() == (stop is None)
    assert [event.training.loss for event in resumed] == [event.training.loss for event in whole]
    torch.testing.assert_close(weights(tmp_path / "resumed"), weights(tmp_path / "whole"), rtol=0, atol=0)
    provenance = MaskCascade.load(tmp_path / "whole" / "model").provenance
    assert provenance["data"] == "blobs"
    assert provenance["steps"] == "8-blank 1 x 2; 8-pairs 2 x 2; 16-blank 1 x 2; 16-pairs 2 x 2"


def test_a_cascade_is_finished_by_its_plan(plan: MaskPlan, pairs: LabelledImages, tmp_path: Path) -> None:
    lower, upper = plan.networks
    chosen = replace(
        plan,
        networks=(
            replace(lower, blank_training=None, finishing=FINISHING),
            replace(upper, blank_training=None, finishing=replace(FINISHING, steps=1)),
        ),
    )
    assert read_back(chosen, tmp_path / "plan.toml") == chosen
    resumed = []
    for stop in (3, None):  # within a phase of finishing
        events = train_mask_cascade(chosen, pairs, tmp_path / "parts", device="cpu", resume=True)
        resumed += list(islice(events, stop))
        events.close()  # type: ignore[attr-defined]
    names = ["8-pairs", "8-finished", "16-pairs", "16-finished"]
    assert [event.network for event in resumed] == [name for name in names for _ in range(2)]
    assert sum(event.training.skipped for event in resumed) == 0
    for _ in train_mask_cascade(chosen, pairs, tmp_path / "whole", device="cpu"):
        pass
    torch.testing.assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=0, atol=0)
    before = torch.load(tmp_path / "whole" / "8-pairs" / "state.pt", weights_only=True)["ema"]
    finished = MaskCascade.load(tmp_path / "whole" / "model")
    unet = finished.cascade.unets[0].state_dict()
    assert any(not torch.equal(value, before[f"module.{name}"]) for name, value in unet.items())
    assert finished.provenance["steps"] == "; ".join(f"{name} 2 x 2" for name in names)
    sampling = [stage.sampling for stage in finished.cascade.config.stages]
    assert [(each.method, each.steps) for each in sampling] == [("ddim", 2), ("ddim", 1)]
    calls = [0, 0]
    for i, network in enumerate(finished.cascade.unets):
        network.register_forward_hook(lambda *_, i=i: calls.__setitem__(i, calls[i] + 1))
    (drawn,) = sample_images(finished, [np.ones((16, 16), np.uint8)], [{"tissue": "Colon"}])
    assert calls == [2, 1]
    assert drawn.image.shape == (16, 16, 3)


def test_training_starts_from_the_unconditional_cascade(
    tiny_cascade: Make, plan: MaskPlan, pairs: LabelledImages, tmp_path: Path
) -> None:
    still = replace(plan, networks=tuple(replace(each, blank_training=None) for each in plan.networks))
    still = replace(
        still, networks=tuple(replace(each, training=replace(SHORT, learning_rate=0.0)) for each in still.networks)
    )
    start = tiny_cascade(text_embed_dim=CONDITIONS.width)
    for _ in train_mask_cascade(still, pairs, tmp_path / "run", start=start, device="cpu"):
        pass
    model = MaskCascade.load(tmp_path / "run" / "model")
    masks = [np.ones((16, 16), np.uint8), None]
    found, wanted = (
        model.sample(masks, [torch.Generator().manual_seed(i) for i in range(2)]),
        start.sample([torch.Generator().manual_seed(i) for i in range(2)])[-1],
    )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert model.provenance["start_data"] == "noise"


@pytest.mark.parametrize("shows", ["distances", "points"])
def test_distances_points_and_colours_are_trained_from_an_unconditional_cascade(
    tiny_cascade: Make, plan: MaskPlan, nuclei: Instances, tmp_path: Path, shows: Shows
) -> None:
    for folder, values in (("images", np.stack([nuclei * 4] * 3, axis=-1)), ("labels", border_labels(nuclei))):
        (tmp_path / folder).mkdir()
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / folder / "nuclei.png")
    pairs = picture_folder(tmp_path / "images", tmp_path / "labels", MaskCodec(KUMAR_BORDER))
    chosen = replace(plan, input=MaskInput.of(KUMAR_BORDER, KUMAR_COLOURS, shows), networks=plan.networks[:1])
    assert read_back(chosen, tmp_path / "plan.toml") == chosen
    whole = tiny_cascade(text_embed_dim=KUMAR_COLOURS.width)
    start = Cascade(CascadeConfig(whole.config.stages[:1]), whole.unets[:1])
    events = list(train_mask_cascade(chosen, pairs, tmp_path / "run", start=start, device="cpu"))
    assert [event.network for event in events] == ["8-blank", "8-pairs", "8-pairs"]
    model = MaskCascade.load(tmp_path / "run" / "model")
    assert model.input == chosen.input
    masks, style = [border_labels(nuclei)[:160, :160]], [colour_statistics(pairs[0].image)]
    (drawn,) = sample_images(model, masks, style, steps=2)
    assert drawn.image.shape == (8, 8, 3)


def test_blank_training_leaves_masks_without_effect(
    plan: MaskPlan, pairs: LabelledImages, tmp_path: Path, tiny_cascade: Make
) -> None:
    unannotated = picture_folder(tmp_path / "images")
    events = train_mask_cascade(
        plan, pairs, tmp_path / "run", unannotated=unannotated, start=tiny_cascade(), device="cpu"
    )
    for event in events:
        if event.network == "8-pairs":
            break
    events.close()  # type: ignore[attr-defined]
    state = torch.load(tmp_path / "run" / "8-blank" / "state.pt", weights_only=True)["unet"]
    assert not state["init_conv.weight"][:, :2].any()  # zero they were, and blank masks give them no gradient
    before = tiny_cascade().unets[0].state_dict()["init_conv.weight"]
    assert (state["init_conv.weight"][:, 2:] - before).abs().max() > 1e-4


def test_what_cannot_be_trained_is_told_before_anything_is_written(
    tiny_cascade: Make, plan: MaskPlan, pairs: LabelledImages, tmp_path: Path
) -> None:
    def train(changed: MaskPlan, **options: object) -> None:
        next(iter(train_mask_cascade(changed, pairs, tmp_path / "run", device="cpu", **options)))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="the stages of the cascade to start from are not the plan's"):
        train(plan, start=tiny_cascade(dim=16))
    other = replace(plan.networks[0], stage=replace(plan.networks[0].stage, objective="noise"))
    with pytest.raises(ConfigError, match="the stages of the cascade to start from are not the plan's"):
        train(replace(plan, networks=(other, plan.networks[1])), start=tiny_cascade())
    with pytest.raises(ConfigError, match=r"the cascade to start from: .* text_embed_dim = 5; the conditions need 3"):
        train(plan, start=tiny_cascade(text_embed_dim=5))
    crops = replace(plan.networks[0], training=replace(SHORT, crop_px=12))
    with pytest.raises(ConfigError, match="crop_px 12 is over the stage's image_px 8"):
        train(replace(plan, networks=(crops, plan.networks[1])))
    assert not (tmp_path / "run").exists()
    train(plan)
    with pytest.raises(ConfigError, match="holds a run; resume it, or use another folder"):
        train(plan)
    with pytest.raises(ConfigError, match=r"was started with another plan, which is .*plan\.toml"):
        train(replace(plan, drop_condition=0.3), resume=True)
    (tmp_path / "labels" / "0.png").write_bytes(b"")
    with pytest.raises(MaskError, match="no image to train on"):
        next(iter(train_mask_cascade(plan, LabelledImages([]), tmp_path / "other", device="cpu")))


def test_the_example_in_the_readme_runs(
    plan: MaskPlan, nuclei: Instances, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kumar = tmp_path / "kumar"
    for folder in ("images", "instances"):
        (kumar / folder).mkdir(parents=True)
    rows = ["image,split,organ,disease"]
    for number, split in enumerate(("train", "seen")):
        picture = np.random.default_rng(number).integers(256, size=(160, 160, 3)).astype(np.uint8)
        Image.fromarray(picture).save(kumar / "images" / f"{split}.png")
        Image.fromarray(nuclei[:, :160].astype(np.uint16)).save(kumar / "instances" / f"{split}.png")
        rows.append(f"{split},{split},Colon,Colon adenocarcinoma")
    (kumar / "index.csv").write_text("\n".join(rows))
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = (each for each in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "train_mask" in each)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102
    names["main"](kumar, tmp_path / "run", replace(plan, input=MaskInput.of(KUMAR, KUMAR_CONDITIONS)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["8-blank", "8-pairs"]
    assert lines[-3:] == ["0 0 (16, 16, 3)", "0 1 (16, 16, 3)", "0 2 (16, 16, 3)"]
