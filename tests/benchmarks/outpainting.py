"""An ultra-resolution cascade against outpainting and against no overlap: seams, coherence, sharpness, time, pictures.

    uv run python tests/benchmarks/outpainting.py REAL_SLIDE OUT_FOLDER [--steps N]

Outpainting draws the slide by one cascade without contexts, on the same grid with the same overlap. That cascade is the
built-in model's first one, trained on for N steps of 8 images (its network of 32 px: 2 N steps of 16) on fields of the
built-in model's last level, at the places that this level is trained at. Then `urcdm-app` draws 1,024 x 1,024 px by the
built-in model in order, jointly and without overlap, and by outpainting in order and jointly. What was stopped goes on,
what is there is not made again.

Seams, coherence and sharpness are those of the runs' reports for the last level, sharpness as a share of the real
slide's. `far` is the correlation of the grey values of blocks of 32 px that are 160 px apart, further than any patch
reaches, across and down; of the real slide, the mean over its squares of 1,024 px, and the least and the most. Time is
that of networks and solver alone, a patch of the last level: the sum over stages of patches, steps and the time of a
step of one, the shortest of three that are measured in turn for both models.
Writes OUT_FOLDER/figures.json and OUT_FOLDER/side-by-side.jpg.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cdm_core import Cascade, Examples, StageConfig, TrainingConfig
from cdm_core.training.loop import train_stage
from cdm_core.training.state import load_trained
from urcdm import LevelExamples, Urcdm, outpainting, sharpness, stage_batch
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from wsi_tiling import Image as Pixels
from wsi_tiling import Slide, TileTable, load_into_memory, open_slide

SIDE_PX = 1024
WAYS = {
    "in order": ("sample", "built-in", "--in-order"),
    "joint": ("sample", "built-in", "--joint"),
    "no overlap": ("sample", "no-overlap", "--in-order"),
    "outpainting": ("outpaint", "cascade", "--in-order"),
    "outpainting, joint": ("outpaint", "cascade", "--joint"),
}
BLOCK_PX, APART = 32, 5
CROP_PX, GAP_PX = 384, 8
STEPS_32 = 2
"""Steps of the network of 32 px to one of that of 128 px, which takes several times as long."""
BATCH = {32: 16, 128: 8}


class WithoutContexts:
    """The pictures of examples, without what they are conditioned on.

    Args:
        examples: The examples.
    """

    def __init__(self, examples: LevelExamples) -> None:
        self.examples = examples

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        return {"image": self.examples[draw]["image"]}


def app(*arguments: str | Path) -> None:
    """Runs a command of `urcdm-app`."""
    subprocess.run([sys.executable, "-m", "urcdm_app", *map(str, arguments)], check=True)


def train(slides: Mapping[str, Slide], tiles: Path, out: Path, steps: int) -> None:
    """Trains the cascade that outpaints."""
    plan, start = read_plan(builtin.PLAN), Urcdm.load(builtin.TEACHER)
    last = len(plan.urcdm.levels) - 1
    examples = WithoutContexts(LevelExamples(plan, last, 0, TileTable.load(tiles), slides, seed=0))
    begun = start.cascades[0]
    unets, done = [], []
    for stage, unet in zip(begun.config.stages, begun.unets, strict=True):
        side = stage.image_px
        steps_here = steps * (STEPS_32 if side == 32 else 1)
        unets.append(trained(stage, steps_here, examples, out / f"patches-{side}", unet))
        done.append(f"{steps_here} x {BATCH[side]}")
    provenance = {"mpp": plan.urcdm.mpp, "data": ", ".join(slides), "steps": "; ".join(done)}
    Cascade(begun.config, unets, provenance).save(out / "cascade", dtype=torch.float16, overwrite=True)


def trained(stage: StageConfig, steps: int, examples: Examples, folder: Path, initial: nn.Module) -> nn.Module:
    """Trains a network on, from where it was stopped if it was; gives the running mean of its weights."""
    training = TrainingConfig(
        steps=steps,
        batch_size=BATCH[stage.image_px],
        learning_rate=3e-4,
        warmup_steps=20,
        ema_decay=0.99,
        checkpoint_every=100,
        sample_every=10**6,
    )
    for event in train_stage(stage, training, examples, folder, device="cpu", initial=initial, resume=True):
        if event.step % 50 == 0:
            print(f"{folder.name}, step {event.step} of {steps}: loss {event.loss:.4f}", flush=True)
    return load_trained(folder / "state.pt", stage)[0]


def pixels(path: Path, side: int | None = None) -> Pixels:
    """A slide, or the square in its middle."""
    with open_slide(path) as slide:
        width, height = slide.size_l0
        if side is None:
            return slide.read((0, 0), (width, height), (width, height))
        return slide.read(((width - side) // 2, (height - side) // 2), side, side)


def drawn(command: str, model: Path, way: str, slide: Path) -> Path:
    """Draws a slide unless it is there, and gives its path."""
    if not slide.exists():
        size = f"{SIDE_PX}x{SIDE_PX}"
        app(command, "--model", model, "--size", size, way, "--out", slide, "--device", "cpu", "--resume")
    return slide


def quality(slide: Path, real: Pixels) -> dict[str, float | None]:
    """Seams, coherence and sharpness of the last level, from the report of the run that drew the slide."""
    found = json.loads(slide.with_suffix(".json").read_text())["quality"][-1]
    figures = {key: found[key] for key in ("seam_columns", "seam_rows", "coherence")}
    return figures | {"sharpness": found["sharpness"] / sharpness(real)}


def side_by_side(rows: Sequence[Sequence[Pixels]]) -> Image.Image:
    """One picture of rows of pictures of one size, with white gaps."""
    height, _, colours = rows[0][0].shape
    down = np.full((height, GAP_PX, colours), 255, np.uint8)
    strips = [np.concatenate([row[0], *(part for one in row[1:] for part in (down, one))], axis=1) for row in rows]
    across = np.full((GAP_PX, strips[0].shape[1], colours), 255, np.uint8)
    return Image.fromarray(np.concatenate([strips[0], *(part for one in strips[1:] for part in (across, one))]))


def far(picture: Pixels) -> float:
    """How alike blocks are that are further apart than a patch is wide."""
    height, width = (side // BLOCK_PX for side in picture.shape[:2])
    grey = picture[: height * BLOCK_PX, : width * BLOCK_PX].mean(axis=2)
    blocks = grey.reshape(height, BLOCK_PX, width, BLOCK_PX).mean(axis=(1, 3))
    across = (blocks[:, :-APART].ravel(), blocks[:, APART:].ravel())
    down = (blocks[:-APART].ravel(), blocks[APART:].ravel())
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in (across, down)]))


def seconds_a_patch(models: Mapping[str, Urcdm]) -> dict[str, float]:
    """The time of networks and solver, a patch of the last level."""
    shortest: dict[tuple[str, int, int], float] = {}
    for _ in range(3):
        for name, model in models.items():
            for level, cascade in enumerate(model.cascades):
                for stage in range(len(cascade.config.stages)):
                    taken = stage_batch(model, (level, stage), limit=8, size=8).seconds_per_image
                    key = (name, level, stage)
                    shortest[key] = min(taken, shortest.get(key, taken))
    found = {}
    for name, model in models.items():
        grids = [len(geometry.grid) for geometry in model.geometry((SIDE_PX, SIDE_PX))]
        total = sum(
            grids[level] * model.cascades[level].config.stages[stage].sampling.steps * taken
            for (of, level, stage), taken in shortest.items()
            if of == name
        )
        found[name] = total / grids[-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=450)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tiles" / "tiles.parquet").exists():
        app("tile", arguments.real, "--out", out / "tiles")
    if not (out / "cascade" / "model.toml").exists():
        real = load_into_memory(open_slide(arguments.real))
        train({arguments.real.stem: real}, out / "tiles" / "tiles.parquet", out, arguments.steps)
    built_in = Urcdm.load(builtin.TEACHER)
    built_in.save(out / "built-in", overwrite=True)
    Urcdm(replace(built_in.config, overlap=0.0), built_in.cascades).save(out / "no-overlap", overwrite=True)

    real = pixels(arguments.real)
    corners = [range(0, side - SIDE_PX + 1, APART * BLOCK_PX) for side in real.shape[:2]]
    squares = [far(real[y : y + SIDE_PX, x : x + SIDE_PX]) for y in corners[0] for x in corners[1]]
    figures: dict[str, dict[str, float | None]] = {
        "real": {"far": float(np.mean(squares)), "far_least": min(squares), "far_most": max(squares)}
    }
    panels = [pixels(arguments.real, CROP_PX)]
    for name, (command, model, way) in WAYS.items():
        slide = drawn(command, out / model, way, out / f"{name.replace(', ', '-').replace(' ', '-')}.tiff")
        figures[name] = quality(slide, real) | {"far": far(pixels(slide))}
        panels.append(pixels(slide, CROP_PX))
        print(name, json.dumps(figures[name]), flush=True)
    cascade = outpainting(Cascade.load(out / "cascade"), mpp=built_in.config.mpp)
    times = seconds_a_patch({"cascade of three magnifications": built_in, "outpainting": cascade})
    (out / "figures.json").write_text(json.dumps({"figures": figures, "seconds_a_patch": times}, indent=2) + "\n")
    print(json.dumps(times))

    side_by_side((panels[:3], panels[3:])).save(out / "side-by-side.jpg", quality=76)


if __name__ == "__main__":
    main()
