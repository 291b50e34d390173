"""The study's networks on a GPU, against imagen-pytorch's own way: fp32, not compiled, one image at a time.

    uv run python tests/benchmarks/cuda_speed.py [--only sampling|training] [--networks 1,2,3] [--json FILE]

Networks are those of the preset 'kidney-unconditional', with random weights. Theirs are measured with `Imagen.sample`
at batch 1 and with `ImagenTrainer`, for a few steps; ours with `sample_stage` in bf16, compiled, at the batch that is
found best, with generators on the device, and with `train_stage` in bf16, compiled. Sampling is projected to the
study's steps: one image of 1024 px. Training is at the study's batch and crops; ours prepares its examples too. All of
it takes under ten minutes: what would end later is left out, and named. `--smoke` runs everything in small, on a CPU.
"""

import argparse
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from imagen_speed import Pictures, as_imagen, take_turns
from torch import nn

from cdm_core import StageConfig, TrainingConfig, build_unet, sample_stage
from cdm_core.devices.batch_size import best_batch_size, is_out_of_memory, time_batch
from cdm_core.networks.imagen_offline import imagen_module
from cdm_core.presets import preset
from cdm_core.stages.inference import compile_in_place, prepare_for_sampling
from cdm_core.training.loop import train_stage

STUDY = preset("kidney-unconditional")
BUDGET_S = 570
NEEDED_S = {"sampling": 110, "training": 160}
"""Longest that one network takes."""
LIMITS = (128, 64, 16)
"""Largest batch that is tried for each network."""
STEPS_A_ROUND = 5
SMOKE_SHRINKS = 8


def in_small(config: StageConfig) -> StageConfig:
    """The stage with a network that a CPU runs, and traces, in a moment: narrow, and of two resolutions."""
    unet = replace(config.unet, dim=8, cond_dim=8, num_resnet_blocks=1, attn_heads=2, attn_dim_head=8)
    unet = replace(unet, **{name: value[:2] for name, value in vars(unet).items() if isinstance(value, tuple)})
    return replace(
        config,
        image_px=config.image_px // SMOKE_SHRINKS,
        lowres_px=config.lowres_px and config.lowres_px // SMOKE_SHRINKS,
        unet=unet,
    )


def fresh(config: StageConfig, device: torch.device) -> nn.Module:
    """The stage's network with random weights, which predicts something: fresh ones end in zeros."""
    with device:
        unet = build_unet(config)
    nn.init.normal_(unet.final_conv.weight, std=0.02)
    return unet


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clear() -> None:
    gc.collect()
    torch.compiler.reset()
    torch.cuda.empty_cache()


def their_sampling(unet: nn.Module, stage: StageConfig, lowres: torch.Tensor | None, device: torch.device) -> float:
    """Milliseconds for a step of one image, as imagen-pytorch does it."""
    with device:
        imagen, number = as_imagen(unet, stage)
    imagen.to(device)
    given = {} if lowres is None else {"start_image_or_video": lowres[:1]}

    def theirs() -> None:
        imagen.sample(batch_size=1, use_tqdm=False, start_at_unet_number=number, device=device, **given)
        wait(device)

    return 1e3 * take_turns(2, imagen=theirs)["imagen"] / stage.sampling.steps


def sampling(config: StageConfig, limit: int, device: torch.device, *, compiled: bool) -> dict[str, Any]:
    """Milliseconds for one image and one step, theirs and ours."""
    steps = 4
    stage = replace(config, sampling=replace(config.sampling, steps=steps))
    unet = fresh(stage, device)
    lowres = None if stage.lowres_px is None else torch.rand(limit, 3, stage.lowres_px, stage.lowres_px, device=device)
    their_ms = their_sampling(unet, stage, lowres, device)
    clear()

    def ours(batch: int, steps: int = steps) -> None:
        generators = [torch.Generator(device).manual_seed(i) for i in range(batch)]
        small = None if lowres is None else lowres[:batch]
        sample_stage(unet, stage, generators=generators, lowres=small, steps=steps)
        wait(device)

    ways = {"fp32": by_batch(ours, limit)}
    prepare_for_sampling(unet, precision="bf16")
    ways["bf16"] = by_batch(ours, limit)
    eager = best_batch_size(ours, limit=limit)
    started = time.perf_counter()
    if compiled:
        compile_in_place(unet)
    ours(eager.size)
    compiling = time.perf_counter() - started
    our_ms = 1e3 * take_turns(3, ours=lambda: ours(eager.size))["ours"] / steps / eager.size
    return {
        "imagen_ms": their_ms,
        "ours_eager_ms": 1e3 * eager.seconds_per_image,
        "ours_ms": our_ms,
        "batch": eager.size,
        "compilation_s": compiling,
        "ratio": their_ms / our_ms,
        "by_batch": ways,
    }


def by_batch(run: Callable[[int, int], None], limit: int) -> dict[int, float]:
    """Milliseconds for one image and one step, not compiled, in batches of 1, 4, 16 and so on that fit the device."""
    found: dict[int, float] = {}
    for batch in (4**power for power in range(limit.bit_length()) if 4**power <= limit):
        try:
            found[batch] = 1e3 * time_batch(run, batch).seconds_per_image
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
    clear()
    return found


def their_training(unet: nn.Module, config: StageConfig, pictures: Pictures, crop_px: int | None) -> float:
    """Milliseconds for a step on these pictures, as `ImagenTrainer` does it, where the network is."""
    device = next(unet.parameters()).device
    with device:
        imagen, number = as_imagen(unet, config, crop_px)
    with warnings.catch_warnings(action="ignore"):
        library = imagen_module("trainer")
        trainer = library.ImagenTrainer(imagen, verbose=False, accelerate_cpu=device.type == "cpu")

    def theirs() -> None:
        for _ in range(STEPS_A_ROUND):
            trainer(pictures.image, unet_number=number)
            trainer.update(unet_number=number)
        wait(device)

    return 1e3 * take_turns(1, imagen=theirs)["imagen"] / STEPS_A_ROUND


def training(config: StageConfig, settings: TrainingConfig, device: torch.device, *, compiled: bool) -> dict[str, Any]:
    """Milliseconds for one image of a training step, theirs and ours."""
    batch, on_cpu, never = settings.batch_size, device.type == "cpu", 10**9
    pictures = Pictures(config, batch)
    unet = fresh(config, device)
    their_ms = their_training(unet, config, pictures, settings.crop_px) / batch
    clear()
    quick = replace(
        settings,
        steps=never,
        precision="bf16",
        compile=compiled,
        workers=0 if on_cpu else 8,
        log_every=never,
        checkpoint_every=never,
        sample_every=never,
    )
    with tempfile.TemporaryDirectory() as folder, mock.patch("cdm_core.training.guard.save_state"):  # gigabytes
        run: Iterator[object] = train_stage(
            config, quick, pictures, Path(folder), device="cpu" if on_cpu else "auto", initial=unet
        )

        def ours(steps: int = STEPS_A_ROUND) -> None:
            for _ in range(steps):
                next(run)
            wait(device)

        started = time.perf_counter()
        ours(1)
        compiling = time.perf_counter() - started
        our_ms = 1e3 * take_turns(3, ours=ours)["ours"] / STEPS_A_ROUND / batch
        run.close()
    return {
        "imagen_ms": their_ms,
        "ours_ms": our_ms,
        "batch": batch,
        "compilation_s": compiling,
        "ratio": their_ms / our_ms,
    }


def rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["sampling", "training"])
    parser.add_argument("--networks", default="1,2,3")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="in small, on the CPU")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    started = time.monotonic()
    device = torch.device("cpu" if arguments.smoke else "cuda")
    name = "CPU" if arguments.smoke else torch.cuda.get_device_name(device)
    figures: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "sampling": {},
        "training": {},
        "left_out": [],
    }
    print(f"{name}, torch {torch.__version__}", flush=True)
    compiled = not (arguments.smoke or arguments.no_compile)
    for what in ("sampling", "training") if arguments.only is None else (arguments.only,):
        for number in map(int, arguments.networks.split(",")):
            title = f"{what}, U-Net {number}"
            if time.monotonic() - started + NEEDED_S[what] > BUDGET_S:
                figures["left_out"].append(title)
                print(f"{title}: left out, no time; run it with --only {what} --networks {number}", flush=True)
                continue
            config, settings, limit = STUDY.cascade.stages[number - 1], STUDY.training[number - 1], LIMITS[number - 1]
            if arguments.smoke:
                config, limit = in_small(config), 2
                crop = settings.crop_px and settings.crop_px // SMOKE_SHRINKS
                settings = replace(settings, batch_size=2, crop_px=crop)
            if what == "sampling":
                found = sampling(config, limit, device, compiled=compiled)
            else:
                found = training(config, settings, device, compiled=compiled)
            clear()
            figures[what][f"U-Net {number}"] = found
            print(f"{title}: " + ", ".join(f"{key} {value}" for key, value in rounded(found).items()), flush=True)
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    measured = [figures["sampling"].get(f"U-Net {i + 1}") for i in range(3)]
    if all(measured):
        steps = [stage.sampling.steps for stage in STUDY.cascade.stages]
        theirs, ours = (
            sum(count * one[key] for count, one in zip(steps, measured, strict=True)) / 1e3
            for key in ("imagen_ms", "ours_ms")
        )
        figures["image of 1024 px"] = {"imagen_s": theirs, "ours_s": ours, "ratio": theirs / ours}
        print(f"an image of 1024 px: {theirs:.1f} s, ours {ours:.1f} s: {theirs / ours:.1f} times as fast")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
