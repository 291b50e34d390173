"""A domain without a background: aerial pictures, trained with padded contexts and without.

    uv run python tests/benchmarks/aerial.py PHOTOGRAPH OUT [--steps N] [--batch N] [--patches N]

Fields of 1,024 and 256 px, 128 px an image; both models start from the built-in one, share the first level, and are
trained alike but for `pad_augment`. The photograph is mirrored at its edges, so that as in tiles from the midst of a
large survey no context in training leaves it. `urcdm-app` tiles, trains and samples.

Figures: patches of the second level are drawn from real contexts, once whole and once with the fill colour from the
patch's edge on, to one side or two, as where a slide ends; the noise is the same. `error` is the mean absolute
difference to the true patch where both are brought to 32 px, in grey values of [0, 1]; `change` that between the two
patches, over the 32 px next to the fill and over the rest; `lighter` how much lighter the second is. `rim_difference`
is how far the slides that the two models draw from the same first picture and noise differ within 32 px of the edge, as
a share of how far they do elsewhere. Trainings that were stopped go on; writes OUT/aerial.json and OUT/aerial.jpg.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomli_w
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cdm_core.config_file import dump_config
from urcdm import Level, NetworkPlan, PatchTask, TrainingPlan, Urcdm, UrcdmConfig, sharpness
from urcdm.execution.batches import run_tasks
from urcdm.layout.context import read_context
from urcdm.training.plan_file import read_plan
from urcdm_app import builtin
from wsi_tiling import ArraySlide, TileTable, TissueRule, load_into_memory, open_slide, read_region

Images = NDArray[np.uint8]
LOW, HIGH = Level("low", 1024, 128), Level("high", 256, 128)
MIRRORED_PX = 640
MPP = 50_000.0
"""Five centimetres a pixel, by the size of the trees; the file does not say."""
PADDED = {"whole": 0.0, "padded": 0.25}
RIM_PX, SEEDS, GAP_PX = 32, 2, 8


def plan_of(pad_augment: float, steps: int, batch: int) -> TrainingPlan:
    """The built-in plan without its last level; four times as many steps of 32 px, which are quick."""
    built_in = read_plan(builtin.PLAN)
    config = UrcdmConfig((LOW, HIGH), mpp=MPP, fill=(0, 0, 0), tissue=TissueRule.everything(), pad_augment=pad_augment)
    names = {"low": "low", "medium": "high"}
    networks = tuple(
        NetworkPlan(
            names[network.level],
            network.stage,
            replace(
                network.training,
                steps=steps * (4 if network.stage.image_px == 32 else 1),
                batch_size=batch,
                ema_decay=0.99,
            ),
        )
        for network in built_in.networks
        if network.level in names
    )
    return TrainingPlan(config, networks)


def app(*arguments: str | Path | float) -> None:
    """Runs a command of `urcdm-app`."""
    subprocess.run([sys.executable, "-m", "urcdm_app", *map(str, arguments)], check=True)


def prepare(photograph: Path, out: Path, steps: int, batch: int) -> None:
    """Writes the mirrored photograph, the tiles, the plans and the model to start from."""
    mosaic, tiles = out / "mosaic.png", out / "tiles"
    with Image.open(photograph) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    margins = ((MIRRORED_PX, MIRRORED_PX), (MIRRORED_PX, MIRRORED_PX), (0, 0))
    Image.fromarray(np.pad(pixels, margins, mode="reflect")).save(mosaic)
    for name, share in PADDED.items():
        (out / f"{name}.toml").write_text(tomli_w.dumps(dump_config(plan_of(share, steps, batch))))
    app("tile", photograph, mosaic, "--plan", out / "whole.toml", "--mpp", MPP, "--out", tiles, "--overwrite")
    frame = TileTable.load(tiles / "tiles.parquet").frame
    last_x, last_y = (MIRRORED_PX + side - HIGH.field_l0 for side in pixels.shape[1::-1])
    inside = frame["x_l0"].between(MIRRORED_PX, last_x) & frame["y_l0"].between(MIRRORED_PX, last_y)
    mirrored = frame["slide"] == mosaic.stem
    kept = (~mirrored & (frame["field_l0"] == LOW.field_l0)) | (
        mirrored & inside & (frame["field_l0"] == HIGH.field_l0)
    )
    TileTable(frame[kept]).save(tiles / "tiles.parquet")
    Urcdm(plan_of(0, steps, batch).urcdm, Urcdm.load(builtin.TEACHER).cascades[:2]).save(out / "start", overwrite=True)


def train(out: Path) -> None:
    """Trains both models, the first level once."""
    for name in PADDED:
        run = out / name
        if name == "padded":
            for shared in ("low-32", "low-128"):
                shutil.copytree(out / "whole" / shared, run / shared, dirs_exist_ok=True)
        arguments = ("--tiles", out / "tiles", "--plan", out / f"{name}.toml", "--from", out / "start", "--out", run)
        app("train", *arguments, "--device", "cpu", "--resume")


def draw(model: Urcdm, contexts: list[Images]) -> Images:
    """Draws a patch of the second level for each parent's picture round it, (N, 128, 128, 3)."""
    side, lowres_px = LOW.image_px, model.cascades[1].config.stages[0].lowres_px
    tasks = []
    for number, around in enumerate(contexts):

        def read(box: tuple[float, float, float, float], size: int, around: Images = around) -> Images:
            return read_region(around, box, size, model.config.fill)

        centre = (side / 2, side / 2)
        context = read_context(read, centre, model.config, LOW, HIGH, HIGH.image_px, lowres_px)
        tasks.append(PatchTask(1, 0, (0, number), number, context.images, context.centre))
    batches = [run_tasks(model, tasks[start : start + 8]) for start in range(0, len(tasks), 8)]
    return np.stack([image for batch in batches for image in batch])


def at_edges(model: Urcdm, mosaic: ArraySlide, count: int) -> dict[str, float]:
    """What the fill colour round patches does to them."""
    rng, margin = np.random.default_rng(1), (LOW.field_l0 - HIGH.field_l0) / 2
    width, height = (int(side - 2 * MIRRORED_PX - HIGH.field_l0) for side in mosaic.size_l0)
    patch_px = int(HIGH.field_l0 / LOW.scale)
    first, last = (LOW.image_px - patch_px) // 2, (LOW.image_px + patch_px) // 2
    whole, cut, true, near = [], [], [], []
    for number in range(count):
        x, y = (MIRRORED_PX + int(rng.integers(side)) for side in (width, height))
        around = mosaic.read((x - margin, y - margin), LOW.field_l0, LOW.image_px)
        filled, beside = around.copy(), np.zeros((HIGH.image_px, HIGH.image_px), bool)
        filled[:, :first], beside[:, :RIM_PX] = 0, True
        if number % 2:
            filled[last:], beside[-RIM_PX:] = 0, True
        whole.append(around)
        cut.append(filled)
        near.append(beside)
        true.append(mosaic.read((x, y), HIGH.field_l0, HIGH.image_px))
    drawn, at_edge, real, rim = draw(model, whole), draw(model, cut), np.stack(true), np.stack(near)
    change = (at_edge.astype(np.float64) - drawn).mean(axis=3) / 255
    return {
        "error": error(drawn, real),
        "error_at_edge": error(at_edge, real),
        "change_near": float(np.abs(change)[rim].mean()),
        "change_elsewhere": float(np.abs(change)[~rim].mean()),
        "lighter_near": float(change[rim].mean()),
        "lighter_elsewhere": float(change[~rim].mean()),
        "sharpness": sharpness(side_by_side(drawn)) / sharpness(side_by_side(real)),
        "sharpness_at_edge": sharpness(side_by_side(at_edge)) / sharpness(side_by_side(real)),
    }


def error(drawn: Images, true: Images) -> float:
    """The mean absolute difference at 32 px."""

    def small(images: Images) -> Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        return F.interpolate(pixels, 32, mode="area")

    return float((small(drawn) - small(true)).abs().mean())


def side_by_side(images: Images) -> Images:
    """One picture, (S, N * S, 3), of images (N, S, S, 3)."""
    return np.concatenate(list(images), axis=1)


def drawn_slides(out: Path, name: str) -> Images:
    """Slides of the model, (N, 512, 512, 3)."""
    pictures = []
    for seed in range(SEEDS):
        path = out / f"{name}-{seed}.tiff"
        if not path.exists():
            app("sample", "--model", out / name / "model", "--out", path, "--seed", seed, "--device", "cpu", "--resume")
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture))
    return np.stack(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patches", type=int, default=24)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "start").exists():
        prepare(arguments.photograph, out, arguments.steps, arguments.batch)
    train(out)
    mosaic = load_into_memory(open_slide(out / "mosaic.png"))
    results: dict[str, object] = {"steps": arguments.steps, "batch": arguments.batch}
    for name in PADDED:
        results[name] = at_edges(Urcdm.load(out / name / "model"), mosaic, arguments.patches)
        print(name, json.dumps(results[name]), flush=True)
    slides = {name: drawn_slides(out, name) for name in PADDED}
    apart = np.abs(slides["whole"].astype(np.float64) - slides["padded"]).mean(axis=(0, 3))
    rim = np.ones(apart.shape, bool)
    rim[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = False
    results["rim_difference"] = float(apart[rim].mean() / apart[~rim].mean())
    (out / "aerial.json").write_text(json.dumps(results, indent=2) + "\n")
    print("rim_difference", results["rim_difference"])

    side = slides["whole"].shape[1]
    corner = (MIRRORED_PX + 640, MIRRORED_PX + 640)
    gap = np.full((side, GAP_PX, 3), 255, np.uint8)
    panels = [mosaic.read(corner, LOW.field_l0, side), gap, slides["whole"][0], gap, slides["padded"][0]]
    Image.fromarray(np.concatenate(panels, axis=1)).save(out / "aerial.jpg", quality=75)


if __name__ == "__main__":
    main()
