"""Sampling and training against imagen-pytorch's own code: the same networks, steps and batch, in one run.

    uv run python tests/benchmarks/imagen_speed.py [--batch N] [--steps N] [--rounds N] [--threads N]
        [--json FILE]

Networks are the built-in model's: the base network of its first level (32 px, with attention) and the
super-resolution network of its last (128 px). imagen-pytorch samples with `Imagen.sample`, and trains with
`ImagenTrainer`: forward, backward, Adam, running mean; ours with `sample_stage` and `train_stage`, which also prepares
the examples. Both draw with DDPM, from the same weights. Rounds take turns, and the best of
each counts, so that other work on the machine weighs on both alike. Ratios over 1: ours is faster.
"""

import argparse
import contextlib
import io
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cdm_core import Cascade, StageConfig, TrainingConfig, sample_stage
from cdm_core.networks.imagen_offline import imagen_module
from cdm_core.training.loop import train_stage
from urcdm_app import builtin

NETWORKS = {"low": 0, "high": 0}
"""Level of the built-in model, and stage of its cascade."""


class Pictures:
    """The same random pictures at every draw, with whatever a stage is conditioned on."""

    def __init__(self, config: StageConfig, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        side, channels = config.image_px, config.unet.cond_images_channels
        self.image = torch.rand(count, 3, side, side, generator=generator)
        self.cond_images = torch.rand(count, channels, side, side, generator=generator) if channels else None

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        i = draw % len(self.image)
        one = {"image": self.image[i]}
        return one if self.cond_images is None else {**one, "cond_images": self.cond_images[i]}


def as_imagen(unet: nn.Module, config: StageConfig, crop_px: int | None = None) -> tuple[nn.Module, int]:
    """The stage as imagen-pytorch makes it, with the same weights; and the number of its U-Net."""
    library = imagen_module()
    with contextlib.redirect_stdout(io.StringIO()):  # advice on small networks
        own = type(unet)(**unet._locals)
        own.load_state_dict(unet.state_dict())
        below = [] if config.lowres_px is None else [library.NullUnet()]
        imagen = library.Imagen(
            [*below, own],
            image_sizes=[*([config.lowres_px] if below else []), config.image_px],
            timesteps=config.sampling.steps,
            noise_schedules=config.schedule,
            pred_objectives=config.objective,
            lowres_noise_schedule=config.lowres_schedule,
            lowres_sample_noise_level=config.sampling.lowres_noise,
            resize_mode=config.lowres_resize,
            random_crop_sizes=(*(None for _ in below), crop_px),
            condition_on_text=False,
            text_embed_dim=8,
            dynamic_thresholding=config.sampling.threshold == "dynamic",
            dynamic_thresholding_percentile=config.sampling.threshold_quantile,
        )
        imagen.unets[-1].load_state_dict(unet.state_dict())  # it builds its U-Nets afresh
    return imagen, len(below) + 1


def take_turns(rounds: int, **works: Callable[[], object]) -> dict[str, float]:
    """The best time of each work, in seconds, after a round that does not count."""
    best = dict.fromkeys(works, float("inf"))
    for number in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def sampling(unet: nn.Module, config: StageConfig, batch: int, rounds: int) -> dict[str, float]:
    imagen, number = as_imagen(unet, config)
    pictures = Pictures(config, batch)
    small = None
    if config.lowres_px is not None:
        small = nn.functional.interpolate(pictures.image, config.lowres_px, mode="bilinear", antialias=True)

    def theirs(count: int) -> Tensor:
        given: dict[str, Any] = {"start_at_unet_number": number}
        if small is not None:
            given["start_image_or_video"] = small[:count]
        if pictures.cond_images is not None:
            given["cond_images"] = pictures.cond_images[:count]
        torch.manual_seed(0)
        return imagen.sample(batch_size=count, use_tqdm=False, device=torch.device("cpu"), **given)

    def ours(count: int) -> Tensor:
        return sample_stage(
            unet,
            config,
            generators=[torch.Generator().manual_seed(i) for i in range(count)],
            lowres=None if small is None else small[:count],
            cond_images=None if pictures.cond_images is None else pictures.cond_images[:count],
        )

    difference = (theirs(1) - ours(1)).abs().max().item()  # one image: they draw a batch's noise from one generator
    alone = (ours(batch)[:1] - ours(1)).abs().max().item()
    best = take_turns(rounds, imagen=lambda: theirs(batch), ours=lambda: ours(batch))
    evaluations = batch * config.sampling.steps
    milliseconds = {f"{name}_ms_per_image_and_step": 1e3 * value / evaluations for name, value in best.items()}
    ratio = best["imagen"] / best["ours"]
    return {**milliseconds, "ratio": ratio, "largest_difference": difference, "difference_in_a_batch": alone}


def training(unet: nn.Module, config: StageConfig, batch: int, rounds: int, steps: int = 4) -> dict[str, float]:
    imagen, number = as_imagen(unet.requires_grad_(True), config)
    pictures = Pictures(config, batch)
    with warnings.catch_warnings(action="ignore"):  # a scaler of old
        trainer = imagen_module("trainer").ImagenTrainer(imagen, verbose=False, accelerate_cpu=True)
    given = {} if pictures.cond_images is None else {"cond_images": pictures.cond_images}

    def theirs() -> None:
        for _ in range(steps):
            trainer(pictures.image, unet_number=number, **given)
            trainer.update(unet_number=number)

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingConfig(
            steps=10**6,
            batch_size=batch,
            max_grad_norm=math.inf,
            log_every=10**6,
            checkpoint_every=10**6,
            sample_every=10**6,
        )
        run: Iterator[object] = train_stage(config, settings, pictures, Path(folder), device="cpu", initial=unet)

        def ours() -> None:
            for _ in range(steps):
                next(run)

        best = take_turns(rounds, imagen=theirs, ours=ours)
        run.close()
    milliseconds = {f"{name}_ms_per_image": 1e3 * value / steps / batch for name, value in best.items()}
    return {**milliseconds, "ratio": best["imagen"] / best["ours"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="denoising steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="cores to use; all unless told")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    figures: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "batch": arguments.batch}
    for name, stage in NETWORKS.items():
        cascade = Cascade.load(builtin.TEACHER / name)
        config = cascade.config.stages[stage]
        drawing = replace(config, sampling=replace(config.sampling, steps=arguments.steps, method="ddpm"))
        for what, measure in (("sampling", sampling), ("training", training)):
            found = measure(cascade.unets[stage], drawing, arguments.batch, arguments.rounds)
            figures[f"{what}, {name} {config.image_px} px"] = found
            print(f"{what}, {name} {config.image_px} px: {found['ratio']:.2f} times as fast as imagen-pytorch")
            print("  " + ", ".join(f"{key} {value:.3g}" for key, value in found.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
