"""What limits the zoom: one base network at the study's zoom of 6.35, its context prepared in five ways.

    uv run python tests/benchmarks/zoom.py REAL_SLIDE OUT [--steps N] [--batch N] [--patches N]

The network, of 64 px, is trained alike for each way on the upper 70 % of the slide, and draws patches of the lower
30 %:

- nearest: it sees the parent's picture around the patch, brought to 64 px by nearest pixels, as in the study;
- antialiased: the same, brought to 64 px as this project does;
- centre: besides, the centre of that picture at its own resolution;
- noise: that centre noised in training (standard deviation up to 0.15) and a little in sampling (0.02);
- blur: and the parent's picture blurred in training (standard deviation up to 1 px).

Figures, in grey values of [0, 1]: the mean absolute difference to the true patch where both are brought to 10 px, and
at 64 px; and that of two neighbours where they overlap by an eighth, sampled independently. Errors are also measured
with parents that are soft (blurred with a standard deviation of 1 px) or noisy (standard deviation 0.08). Sharpness is
that of `urcdm.sharpness`, as a share of the true patches'. Trainings that were stopped go on; writes OUT/zoom.json and
OUT/zoom.jpg.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cdm_core import Cascade, Examples, SamplingConfig, StageConfig, TrainingConfig, UnetConfig
from cdm_core.stages.lowres import blurred
from cdm_core.training.loop import train_stage
from cdm_core.training.state import load_trained
from urcdm import (
    Level,
    LevelExamples,
    NetworkPlan,
    PatchTask,
    TrainingPlan,
    Urcdm,
    UrcdmConfig,
    sharpness,
)
from urcdm.execution.batches import run_tasks
from urcdm.layout.context import read_context
from wsi_tiling import ArraySlide, TissueRule, find_tiles, load_into_memory, open_slide, read_region

Images = NDArray[np.uint8]
Parent = Literal["real", "soft", "noisy"]
ZOOM = 6.35
FIELD_L0, SIDE = 128, 64
PARENT = Level("parent", ZOOM * FIELD_L0, 512)
PATCH = Level("patch", FIELD_L0, 128)
TRAIN_SHARE, OVERLAP = 0.7, 0.125
RULE = TissueRule(0.5, 0.03, erode_px=3, dilate_px=9)
SMALLEST = UnetConfig(dim=8, dim_mults=(1, 2), layer_attns=False, layer_cross_attns=False, attend_at_middle=False)
GAP_PX, SHOWN = 4, 12


@dataclass(frozen=True)
class Way:
    """How the context is prepared."""

    kind: Literal["centre", "plain"]
    nearest: bool = False
    max_noise: float = 0.0
    noise: float = 0.0
    max_blur: float = 0.0

    def plan(self, steps: int, batch: int) -> TrainingPlan:
        """The plan; of its networks only the 64 px one of the patches is ever trained."""
        config = UrcdmConfig(
            (PARENT, PATCH),
            mpp=0.499,
            overlap=OVERLAP,
            fill=(243, 243, 243),
            context=self.kind,
            context_noise=self.noise,
            max_context_noise=self.max_noise,
            max_context_blur=self.max_blur,
            tissue=RULE,
        )
        channels = config.context_channels(1)
        network = UnetConfig(
            dim=32,
            dim_mults=(1, 2, 4),
            cond_dim=96,
            layer_attns=(False, False, True),
            layer_cross_attns=False,
            attn_heads=4,
            attn_dim_head=32,
            init_cross_embed=False,
            init_conv_kernel_size=3,
            cond_images_channels=channels,
        )
        training = TrainingConfig(
            steps=steps,
            batch_size=batch,
            learning_rate=5e-4,
            warmup_steps=min(50, steps),
            ema_decay=0.99,
            checkpoint_every=100,
            sample_every=steps,
        )
        sampling = SamplingConfig(steps=16, method="dpmpp_2m")
        stages = [
            (PARENT, StageConfig(PARENT.image_px, SMALLEST)),
            (PATCH, StageConfig(SIDE, network, sampling=sampling)),
            (PATCH, StageConfig(PATCH.image_px, replace(SMALLEST, cond_images_channels=channels), SIDE)),
        ]
        return TrainingPlan(config, tuple(NetworkPlan(level.name, stage, training) for level, stage in stages))


WAYS = {
    "nearest": Way("plain", nearest=True),
    "antialiased": Way("plain"),
    "centre": Way("centre"),
    "noise": Way("centre", max_noise=0.15, noise=0.02),
    "blur": Way("centre", max_noise=0.15, noise=0.02, max_blur=1.0),
}


class NearestExamples:
    """Examples whose context is brought to the stage's size by nearest pixels.

    Args:
        examples: The same examples, antialiased.
        whole: The same examples with the context at the parent's own size.
    """

    def __init__(self, examples: Examples, whole: Examples) -> None:
        self.examples, self.whole = examples, whole

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        step = PARENT.image_px // SIDE
        return self.examples[draw] | {"cond_images": self.whole[draw]["cond_images"][:, ::step, ::step].clone()}


def examples_of(way: Way, plan: TrainingPlan, slide: ArraySlide) -> Examples:
    """What the network learns from."""
    tiles = find_tiles([slide], field_l0=FIELD_L0, rule=RULE)
    assert slide.path is not None
    slides = {slide.path.stem: slide}
    examples = LevelExamples(plan, 1, 0, tiles, slides, seed=0)
    if not way.nearest:
        return examples
    _, _, last = plan.networks
    at_parents_size = replace(last, stage=replace(last.stage, image_px=PARENT.image_px))
    large = replace(plan.urcdm, levels=(PARENT, replace(PATCH, image_px=PARENT.image_px)))
    return NearestExamples(
        examples,
        LevelExamples(
            replace(plan, urcdm=large, networks=(*plan.networks[:2], at_parents_size)), 1, 1, tiles, slides, seed=0
        ),
    )


def trained(way: Way, plan: TrainingPlan, slide: ArraySlide, folder: Path) -> tuple[Urcdm, float]:
    """The model with its trained network, and the seconds that training took."""
    network, started = plan.of_level(1)[0], time.monotonic()
    taken = folder / "seconds.json"
    if not taken.exists():
        for event in train_stage(
            network.stage, network.training, examples_of(way, plan, slide), folder, device="cpu", resume=True
        ):
            if event.step % 50 == 0:
                print(folder.name, event.step, f"{event.loss:.4f}", flush=True)
        taken.write_text(json.dumps(time.monotonic() - started))
    unet, _ = load_trained(folder / "state.pt", network.stage)
    cascade = Cascade(plan.cascade(1))
    cascade.unets[0] = Cascade(plan.cascade(1), [unet, cascade.unets[1]]).unets[0]
    return Urcdm(plan.urcdm, [Cascade(plan.cascade(0)), cascade]), json.loads(taken.read_text())


def places_on(slide: ArraySlide, count: int) -> list[tuple[float, float]]:
    """Corners of patches of tissue whose context, and that of the neighbour to the right, lies on the slide."""
    rng, places = np.random.default_rng(1), []
    margin, stride = (PARENT.field_l0 - FIELD_L0) / 2 + 1, FIELD_L0 * (1 - OVERLAP)
    width, height = slide.size_l0
    while len(places) < count:
        x = int(rng.integers(margin, width - margin - FIELD_L0 - stride))
        y = int(rng.integers(margin, height - margin - FIELD_L0))
        if (slide.read((x, y), FIELD_L0, SIDE).mean(axis=2) < 200).mean() > 0.5:
            places.append((float(x), float(y)))
    return places


def degraded(around: Images, parent: Parent, rng: np.random.Generator) -> Images:
    """The parent's picture as a poor network might have made it."""
    if parent == "soft":
        pixels = torch.from_numpy(around.copy()).permute(2, 0, 1)[None].float()
        return blurred(pixels, torch.tensor([1.0]))[0].permute(1, 2, 0).round().byte().numpy()
    if parent == "noisy":
        return (around + rng.normal(0, 0.08 * 255, around.shape)).clip(0, 255).round().astype(np.uint8)
    return around


def draw(
    way: Way, model: Urcdm, slide: ArraySlide, places: list[tuple[float, float]], parent: Parent, seed: int
) -> Images:
    """Draws the patches at these places, (N, 64, 64, 3)."""
    rng, tasks = np.random.default_rng(2), []
    for number, (x, y) in enumerate(places):
        margin, side = (PARENT.field_l0 - FIELD_L0) / 2, PARENT.image_px
        around = degraded(slide.read((x - margin, y - margin), PARENT.field_l0, side), parent, rng)

        def read(box: tuple[float, float, float, float], size: int, around: Images = around) -> Images:
            return read_region(around, box, size, model.config.fill)

        context = read_context(read, (side / 2, side / 2), model.config, PARENT, PATCH, SIDE, None).images
        step = side // SIDE
        context = around[::step, ::step] if way.nearest else context
        tasks.append(PatchTask(1, 0, (0, number), 1000 * seed + number, np.ascontiguousarray(context)))
    batches = [run_tasks(model, tasks[start : start + 16]) for start in range(0, len(tasks), 16)]
    return np.stack([image for batch in batches for image in batch])


def error(drawn: Images, true: Images, side: int) -> float:
    """The mean absolute difference where both are brought to a side."""

    def small(images: Images) -> Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        return F.interpolate(pixels, side, mode="bilinear", antialias=True)

    return float((small(drawn) - small(true)).abs().mean())


def row(images: Images) -> Images:
    """One picture, (S, N * S, 3), of images (N, S, S, 3)."""
    return np.concatenate(list(images), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patches", type=int, default=64)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    whole = load_into_memory(open_slide(arguments.real))
    width, height = whole.size_l0
    cut = int(TRAIN_SHARE * height)
    upper, lower = (
        ArraySlide(
            whole.read((0, top), (width, rows), (width, rows)), whole.mpp, whole.background, path=Path(f"{name}.png")
        )
        for name, top, rows in (("upper", 0, cut), ("lower", cut, height - cut))
    )
    places = places_on(lower, arguments.patches)
    beside = [(x + FIELD_L0 * (1 - OVERLAP), y) for x, y in places]
    true = np.stack([lower.read(place, FIELD_L0, SIDE) for place in places])
    shared = round(SIDE * OVERLAP)
    results: dict[str, dict[str, float]] = {}
    rows = [row(true[:SHOWN])]
    for name, way in WAYS.items():
        plan = way.plan(arguments.steps, arguments.batch)
        model, seconds = trained(way, plan, upper, arguments.out / name)
        drawn = draw(way, model, lower, places, "real", 0)
        neighbours = draw(way, model, lower, beside, "real", 1)
        apart = drawn[:, :, -shared:].astype(np.float64) - neighbours[:, :, :shared]
        results[name] = {
            "training_s": seconds,
            "error_10px": error(drawn, true, round(SIDE / ZOOM)),
            "error_64px": error(drawn, true, SIDE),
            "disagreement": float(np.abs(apart).mean() / 255),
            "sharpness": sharpness(row(drawn)) / sharpness(row(true)),
        }
        for parent in ("soft", "noisy"):
            poor = draw(way, model, lower, places, parent, 0)
            results[name] |= {
                f"{parent}_error_10px": error(poor, true, round(SIDE / ZOOM)),
                f"{parent}_error_64px": error(poor, true, SIDE),
                f"{parent}_sharpness": sharpness(row(poor)) / sharpness(row(true)),
            }
        print(name, json.dumps(results[name]), flush=True)
        (arguments.out / "zoom.json").write_text(json.dumps(results, indent=2) + "\n")
        rows += [np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8), row(drawn[:SHOWN])]
    Image.fromarray(np.concatenate(rows)).save(arguments.out / "zoom.jpg", quality=90)


if __name__ == "__main__":
    main()
