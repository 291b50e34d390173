"""Two settings against their defaults: a base model at medium and high magnification, and shared weights.

    uv run python tests/benchmarks/variants.py REAL_SLIDE OUT_FOLDER [--base-steps N] [--steps N] [--patches N]

Four models of three magnifications, whose first one is the built-in model's:

- centre: the built-in model, whose networks at medium and high enlarge the centre of their context;
- base: before them a base network draws 32 px from the context and its centre. One for each level: the built-in base
  of the first level, given six channels more, trained on for --base-steps steps of 16 images;
- separate: a network for medium and one for high, both the built-in one of high, trained on for N = --steps steps of 8
  images each;
- shared: one for both, told the level; the same network trained on for 2 N steps of 8 images, half of them of each
  level. So each level gives as many images as in `separate`, and there are as many steps in all.

`urcdm-app` draws 1,024 x 1,024 px by each, in order, seed 0. Seams, coherence and sharpness are those of the runs'
reports for the last level, sharpness as a share of the real slide's; time is that of `outpainting.py`. `error` is the
mean absolute difference of patches drawn from real contexts to the true ones, both brought to 32 px, in grey values of
[0, 1]; their sharpness is a share of the true ones'. All networks have seen the whole slide. Trainings that were
stopped go on, what is there is not made again. Writes OUT_FOLDER/variants.json and OUT_FOLDER/variants.jpg.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from aerial import error
from few_steps import BATCH as PATCHES_AT_ONCE
from few_steps import Images, patches_of
from few_steps import side_by_side as in_a_row
from outpainting import BATCH, app, drawn, pixels, quality, seconds_a_patch, side_by_side, trained
from torch import nn

from cdm_core import Cascade, CascadeConfig, StageConfig
from cdm_core.stages.build import build_unet
from cdm_core.stages.widen import widen
from urcdm import LevelExamples, LocalPatchExecutor, NetworkPlan, TrainingPlan, Urcdm, sharpness
from urcdm.config import SHARED
from urcdm.training.examples import InTurn
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from wsi_tiling import Image as Pixels
from wsi_tiling import Slide, TileTable, load_into_memory, open_slide

CROP_PX = 320
MEDIUM, HIGH = 1, 2


def with_bases(plan: TrainingPlan) -> TrainingPlan:
    """The plan with a base network at medium and high too: that of the first level, told the context."""
    first = plan.networks[0].stage
    base = replace(
        first,
        unet=replace(first.unet, cond_images_channels=plan.urcdm.context_channels(MEDIUM)),
        sampling=replace(first.sampling, steps=plan.networks[-1].stage.sampling.steps),
    )
    networks: list[NetworkPlan] = []
    for network in plan.networks:
        if network.level != plan.urcdm.levels[0].name:
            networks.append(replace(network, stage=base))
        networks.append(network)
    return replace(plan, networks=tuple(networks))


def with_shared_weights(plan: TrainingPlan) -> TrainingPlan:
    """The plan with one network for medium and high, told the level."""
    low, last = plan.of_level(0), plan.networks[-1]
    stage = replace(last.stage, unet=replace(last.stage.unet, text_embed_dim=len(plan.urcdm.levels) - 1))
    config = replace(plan.urcdm, weights="shared")
    return TrainingPlan(config, (*low, NetworkPlan(SHARED, stage, last.training)))


def told_the_level(stage: StageConfig, unet: nn.Module) -> nn.Module:
    """A network with the embedding that its stage asks for, which does next to nothing until it is trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        told = build_unet(stage)
    missing = told.load_state_dict(unet.state_dict(), strict=False).missing_keys
    last = told.to_text_non_attn_cond[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert all(name.startswith(("text_to_cond.", "to_text_non_attn_cond.")) for name in missing), missing
    return told


class Trainings:
    """The networks that are trained here, each in its folder.

    Args:
        slide: The real slide.
        name: Its name in the tile table.
        out: Where the folders are, and the tiles.
    """

    def __init__(self, slide: Slide, name: str, out: Path) -> None:
        self.plan, self.start, self.out = read_plan(builtin.PLAN), Urcdm.load(builtin.TEACHER), out
        self.tiles, self.slides = TileTable.load(out / "tiles" / "tiles.parquet"), {name: slide}

    def examples(self, plan: TrainingPlan, level: int) -> LevelExamples:
        """What the first network of a level learns from."""
        return LevelExamples(plan, level, 0, self.tiles, self.slides, seed=0)

    def bases(self, steps: int) -> Urcdm:
        """The built-in model with base networks at medium and high."""
        plan = with_bases(self.plan)
        low = self.start.cascades[0]
        _, begun = widen(low.config.stages[0], low.unets[0], self.plan.urcdm.context_channels(MEDIUM))
        cascades = [low]
        for level in (MEDIUM, HIGH):
            stage = plan.of_level(level)[0].stage
            folder = self.out / f"base-{plan.urcdm.levels[level].name}"
            base = trained(stage, steps, self.examples(plan, level), folder, begun)
            cascades.append(Cascade(plan.cascade(level), [base, *self.start.cascades[level].unets]))
        return Urcdm(plan.urcdm, cascades)

    def separate(self, steps: int) -> Urcdm:
        """A network for medium and one for high, both from that of high."""
        begun, cascades = self.start.cascades[HIGH].unets[0], [self.start.cascades[0]]
        for level in (MEDIUM, HIGH):
            stage = self.plan.of_level(level)[0].stage
            folder = self.out / f"separate-{self.plan.urcdm.levels[level].name}"
            unet = trained(stage, steps, self.examples(self.plan, level), folder, begun)
            cascades.append(Cascade(CascadeConfig((stage,)), [unet]))
        return Urcdm(self.plan.urcdm, cascades)

    def shared(self, steps: int) -> Urcdm:
        """One network for both, from that of high, in twice the steps."""
        plan = with_shared_weights(self.plan)
        stage = plan.of_level(HIGH)[0].stage
        begun = told_the_level(stage, self.start.cascades[HIGH].unets[0])
        examples = InTurn([self.examples(plan, level) for level in (MEDIUM, HIGH)])
        cascade = Cascade(
            CascadeConfig((stage,)), [trained(stage, 2 * steps, examples, self.out / "shared-both", begun)]
        )
        return Urcdm(plan.urcdm, [self.start.cascades[0], cascade, cascade])


def patches(model: Urcdm, level: int, slide: Slide, count: int) -> tuple[Images, Images]:
    """Patches drawn from real contexts, stage after stage, and the real ones, (count, S, S, 3) each."""
    executor, stages = LocalPatchExecutor(model), len(model.cascades[level].config.stages)
    images: list[Images] = []
    for number in range(stages):
        tasks, real = patches_of(slide, model, level, count, number=number)
        # Whatever comes before, the last stage has the same noise in all models.
        tasks = [replace(task, seed=10**6 * (stages - 1 - number) + i) for i, task in enumerate(tasks)]
        if images:
            tasks = [replace(task, lowres=image) for task, image in zip(tasks, images, strict=True)]
        starts = range(0, count, PATCHES_AT_ONCE)
        images = [image for start in starts for image in executor.run(tasks[start : start + PATCHES_AT_ONCE])]
    return np.stack(images), real


def from_real_contexts(model: Urcdm, slide: Slide, count: int) -> dict[str, float]:
    """Error and sharpness of patches drawn from real contexts."""
    found = {}
    for level in (MEDIUM, HIGH):
        images, real = patches(model, level, slide, count)
        name = model.config.levels[level].name
        found[f"error_{name}"] = error(images, real)
        found[f"sharpness_{name}"] = sharpness(in_a_row(images)) / sharpness(in_a_row(real))
    return found


def figures_of(name: str, model: Urcdm, slide: Slide, real: Pixels, count: int, out: Path) -> dict[str, float | None]:
    """The figures of a model, measured unless they are there."""
    kept = out / f"{name}-figures.json"
    if not kept.exists():
        model.save(out / name, overwrite=True)
        picture = drawn("sample", out / name, "--in-order", out / f"{name}.tiff")
        kept.write_text(json.dumps(quality(picture, real) | from_real_contexts(model, slide, count)))
        print(name, kept.read_text(), flush=True)
    found: dict[str, float | None] = json.loads(kept.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-steps", type=int, default=900)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--patches", type=int, default=32)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tiles" / "tiles.parquet").exists():
        app("tile", arguments.real, "--out", out / "tiles")
    slide, real = load_into_memory(open_slide(arguments.real)), pixels(arguments.real)
    trainings = Trainings(slide, arguments.real.stem, out)
    models = {
        "centre": trainings.start,
        "base": trainings.bases(arguments.base_steps),
        "separate": trainings.separate(arguments.steps),
        "shared": trainings.shared(arguments.steps),
    }
    figures = {name: figures_of(name, model, slide, real, arguments.patches, out) for name, model in models.items()}
    shown = [pixels(path, CROP_PX) for path in (arguments.real, *(out / f"{name}.tiff" for name in models))]
    side_by_side([shown]).save(out / "variants.jpg", quality=80)
    times = seconds_a_patch({name: models[name] for name in ("centre", "base", "shared")})
    settings = {"base_steps": arguments.base_steps, "steps": arguments.steps, "batch": BATCH}
    results = {"settings": settings, "figures": figures, "seconds_a_patch": times}
    (out / "variants.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(times))


if __name__ == "__main__":
    main()
