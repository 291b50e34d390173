"""Every path of the method once, in small, on a device: does it run, does it wait for the device, does it agree?

    uv run python tests/benchmarks/device_paths.py [--device cuda] [--only NAME[,NAME ...]] [--json FILE]

Each path runs twice, the second time with CUDA's debug mode for synchronisation, which reports each place where the
host waits for the device. Sampling is compared with the CPU's in float32 (largest difference, of values in [0, 1]).
Commands of `urcdm-app` run on the built-in model and a small made-up slide. A path that fails is reported in one line,
and the next one runs; the exit code is 1 if any failed. On the CPU nothing waits, and the differences are zero.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagen_speed import Pictures
from torch import Tensor, nn
from whole_slide import section

from cdm_core import SamplingConfig, StageConfig, TrainingConfig, UnetConfig, build_unet, sample_stage
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.distillation.teacher import student_of
from cdm_core.stages.inference import compile_in_place, compiled_steps, prepare_for_sampling
from cdm_core.training.loop import train_stage
from cdm_core.training.students import distill_stage
from maskcond import KUMAR, LabelledImage
from maskcond.segmentation import SmallUnet, SmallUnetSettings
from pfid import Light

UNET = UnetConfig(
    dim=32,
    dim_mults=(1, 2),
    cond_dim=32,
    num_resnet_blocks=1,
    layer_attns=(False, True),
    layer_cross_attns=False,
    attn_heads=2,
    attn_dim_head=64,
    init_cross_embed=False,
    init_conv_kernel_size=3,
)
UPPER = StageConfig(
    32, replace(UNET, cond_images_channels=3), lowres_px=16, lowres_blur=0.5, sampling=SamplingConfig(4, "dpmpp_2m")
)
TRAINING = TrainingConfig(
    4, 4, chunk_size=2, crop_px=16, warmup_steps=1, log_every=4, checkpoint_every=4, sample_every=4
)
FINISHING = FinishingConfig(widths=(8, 8), starts_at=1, rises_for=2, r1_every=2)
SIZE = "512"
"""Of the slides that are drawn: the built-in model's own takes a CPU too long."""
Path_ = Callable[[torch.device, Path], dict[str, Any] | None]
PATHS: dict[str, Path_] = {}
"""By name: runs on the device, with a folder of its own, and returns figures of its own, if it has any."""


def path(name: str) -> Callable[[Path_], Path_]:
    """Adds a function to `PATHS`."""

    def add(function: Path_) -> Path_:
        PATHS[name] = function
        return function

    return add


def random_network(config: StageConfig, device: torch.device) -> nn.Module:
    """The stage's network with the same random weights on every device, none of them zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = build_unet(config)
        for parameter in unet.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
    return unet.to(device)


def draw(
    config: StageConfig, device: torch.device, *, precision: str, compiled: str | None = None, **more: Any
) -> Tensor:
    """Draws four images with the noise of the CPU, so that devices can be compared."""
    unet = prepare_for_sampling(random_network(config, device), precision=precision)
    take = compiled_steps(mode="reduce-overhead" if device.type == "cuda" else None) if compiled == "loop" else None
    if compiled == "step":
        compile_in_place(unet)
    numbers = torch.Generator().manual_seed(1)
    given = {
        "lowres": torch.rand(4, 3, 16, 16, generator=numbers),
        "cond_images": torch.rand(4, 3, 32, 32, generator=numbers),
    }
    return sample_stage(
        unet,
        config,
        generators=[torch.Generator().manual_seed(i) for i in range(4)],
        take=take,
        **{name: value.to(device) for name, value in (given | more).items()},
    ).cpu()


def sampling(method: str, **sampling: Any) -> Path_:
    config = replace(UPPER, sampling=replace(UPPER.sampling, method=method, **sampling))
    known = {"known": torch.full((4, 3, 32, 32), 0.5), "known_mask": torch.zeros(4, 1, 32, 32)}
    known["known_mask"][..., :16] = 1

    def run(device: torch.device, _: Path) -> dict[str, Any]:
        here, there = draw(config, device, precision="fp32"), draw(config, torch.device("cpu"), precision="fp32")
        draw(config, device, precision="bf16", **known)
        return {"fp32_difference": float((here - there).abs().max())}

    return run


for method, options in {"ddpm": {}, "ddim": {"eta": 0.5}, "dpmpp_2m": {"threshold": "dynamic"}, "heun": {}}.items():
    PATHS[f"sampling {method}"] = sampling(method, **options)


@path("sampling compiled")
def sampling_compiled(device: torch.device, _: Path) -> dict[str, Any]:
    student = replace(UPPER, sampling=SamplingConfig(2, "ddim"))
    eager = draw(student, device, precision="bf16")
    ways = {way: draw(student, device, precision="bf16", compiled=way) for way in ("step", "loop")}
    return {f"{way}_difference": float((made - eager).abs().max()) for way, made in ways.items()}


def train(device: torch.device, folder: Path, config: StageConfig = UPPER, **more: Any) -> None:
    settings = replace(
        TRAINING, **{name: more.pop(name) for name in ("precision", "compile", "workers") if name in more}
    )
    count = 0
    for _ in train_stage(
        config, settings, Pictures(config, 4), folder, device="cpu" if device.type == "cpu" else "auto", **more
    ):
        count += 1
    if count != settings.steps:
        raise RuntimeError(f"{count} steps of {settings.steps}")


@path("training fp32")
def training_fp32(device: torch.device, folder: Path) -> None:
    train(device, folder, precision="fp32")


@path("training bf16")
def training_bf16(device: torch.device, folder: Path) -> None:
    train(device, folder, precision="bf16", workers=2)


@path("training compiled")
def training_compiled(device: torch.device, folder: Path) -> None:
    train(device, folder, precision="bf16", compile=True)


@path("training resumed")
def training_resumed(device: torch.device, folder: Path) -> None:
    on = "cpu" if device.type == "cpu" else "auto"
    run = train_stage(UPPER, TRAINING, Pictures(UPPER, 4), folder, device=on)
    list(islice(run, 2))
    run.close()
    left = [event.step for event in train_stage(UPPER, TRAINING, Pictures(UPPER, 4), folder, device=on, resume=True)]
    if left != [3, 4]:
        raise RuntimeError(f"went on with steps {left}")


def distil(method: str) -> Path_:
    def run(device: torch.device, folder: Path) -> None:
        teacher, on = random_network(UPPER, torch.device("cpu")), "cpu" if device.type == "cpu" else "auto"
        for _ in distill_stage(
            teacher, UPPER, TRAINING, Pictures(UPPER, 4), folder, steps=(2,), method=method, device=on
        ):
            pass

    return run


PATHS["distillation progressive"] = distil("progressive")
PATHS["distillation consistency"] = distil("consistency")


@path("finishing")
def finishing(device: torch.device, folder: Path) -> None:
    student = student_of(UPPER, 2)
    initial = random_network(student, torch.device("cpu"))
    train(device, folder, student, precision="bf16", initial=initial, finishing=FINISHING)


def nuclei(count: int) -> list[LabelledImage]:
    """Pairs of images and labels, made up."""
    images = (np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8) for i in range(count))
    return [LabelledImage(str(i), image, (image[..., 0] > 127).astype(np.uint8)) for i, image in enumerate(images)]


@path("small U-Net")
def small_unet(device: torch.device, folder: Path) -> None:
    settings = SmallUnetSettings(
        features=(8, 16), steps=4, batch_size=2, augmentation=replace(SmallUnetSettings().augmentation, crop_px=32)
    )
    model = SmallUnet(folder / "unet", KUMAR, settings, device=device)
    pairs = nuclei(4)
    for _ in model.fit(pairs):
        pass
    list(model.predict([pairs[0].image]))


@path("patch-FID features")
def features(device: torch.device, folder: Path) -> dict[str, Any]:
    images = np.stack([pair.image for pair in nuclei(4)])
    here, there = (Light(device=where)(images) for where in (device, torch.device("cpu")))
    return {"difference": float(np.abs(here - there).max())}


def app(*words: str, device: torch.device) -> None:
    """Runs a command of `urcdm-app` in this process."""
    from urcdm_app.cli import app as commands

    commands([*words, "--device", device.type], standalone_mode=False)


def made_up_slide(folder: Path) -> Path:
    """A slide of 2,048 px with made-up tissue."""
    import tifffile

    file = folder / "slide.tiff"
    pixels = np.kron(section(), np.ones((2, 2, 1), np.uint8))
    tifffile.imwrite(
        file, pixels, tile=(256, 256), photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER"
    )
    return file


@path("app sample")
def app_sample(device: torch.device, folder: Path) -> None:
    app("sample", "--size", SIZE, "--out", str(folder / "slide.tiff"), device=device)


@path("app sample joint")
def app_sample_joint(device: torch.device, folder: Path) -> None:
    app("sample", "--size", SIZE, "--joint", "--out", str(folder / "slide.tiff"), device=device)


@path("app train distill finish")
def app_train(device: torch.device, folder: Path) -> None:
    from urcdm_app.cli import app as commands

    tiles = str(folder / "tiles")
    commands(["tile", str(made_up_slide(folder)), "--out", tiles, "--overlap", "0.5"], standalone_mode=False)
    few = ("--tiles", tiles, "--steps", "2", "--batch", "2", "--only")
    app("train", *few, "low-32", "--out", str(folder / "train"), device=device)
    app("distill", *few, "high-128", "--to", "4", "--out", str(folder / "distill"), device=device)
    app("finish", *few, "high-128", "--out", str(folder / "finish"), device=device)


@contextlib.contextmanager
def counted_waits(device: torch.device) -> Iterator[list[str]]:
    """Collects the places where the host waits for the device, as CUDA's debug mode reports them."""
    places: list[str] = []
    if device.type != "cuda":
        yield places
        return

    def shown(message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        if "synchroniz" in str(message):
            places.append(f"{Path(filename).name}:{lineno}")

    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = shown
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")


def run_path(name: str, device: torch.device) -> dict[str, Any]:
    """Runs a path, twice where it is quick, and returns its figures or its error."""
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = PATHS[name](device, Path(folder)) or {}
        seconds = time.perf_counter() - started
        if device.type == "cuda" and not name.startswith("app"):
            with tempfile.TemporaryDirectory() as folder, counted_waits(device) as places:
                PATHS[name](device, Path(folder))
            figures["waits"] = {place: places.count(place) for place in dict.fromkeys(places)}
        return {"seconds": round(seconds, 2), **figures}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", help="names with commas; all by default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    names = list(PATHS) if arguments.only is None else arguments.only.split(",")
    results: dict[str, Any] = {}
    for name in names:
        results[name] = run_path(name, device)
        print(f"{name}: {results[name]}", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    sys.exit(1 if any("error" in result for result in results.values()) else 0)


if __name__ == "__main__":
    main()
