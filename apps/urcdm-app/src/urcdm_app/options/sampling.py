"""The options of `sample` and `outpaint`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from urcdm_app import builtin
from urcdm_app.options.kinds import MODEL_KINDS, Device, Overwrite, Ray, Resume

MOST_STEPS = 100_000
Out = Annotated[Path, typer.Option(help="The slide; a preview .png and a report .html are written beside it.")]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that both commands share."""

    seed: Annotated[int, typer.Option(min=0, help="Another seed, another slide.")] = 0
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_STEPS, help="Denoising steps of every stage.", show_default="as the model says"),
    ] = None
    resample: Annotated[
        int, typer.Option(min=1, help="Run each step this often where patches join (RePaint); slower, smoother.")
    ] = 1
    joint: Annotated[
        bool,
        typer.Option(
            "--joint/--in-order",
            help="All patches take each step together, averaged where they overlap; or one after the other, each "
            "holding its neighbours' pixels.",
        ),
    ] = False
    batch: Annotated[
        str, typer.Option(help="Patches sampled together, which does not change the slide; auto measures on a GPU.")
    ] = "auto"
    precision: Annotated[str, typer.Option(help="'auto', 'fp32' or 'bf16'; auto takes bf16 on GPUs that have it.")] = (
        "auto"
    )
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the networks first, which takes minutes.",
            show_default="those with minutes of work, on a GPU",
        ),
    ] = None
    device: Device = "auto"
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Share the patches among workers on Ray: each has a GPU, or an even share of the processors.",
            show_default="1; on a Ray cluster one for each GPU",
        ),
    ] = None
    ray: Ray = None
    overwrite: Overwrite = False
    resume: Resume = False


@dataclass(frozen=True, kw_only=True)
class _SampledSlide:
    model: Annotated[
        str, typer.Option(help=f"{MODEL_KINDS[0].upper()}{MODEL_KINDS[1:]}.", show_default="the built-in one")
    ] = str(builtin.MODEL)
    out: Out = Path("slide.tiff")
    size: Annotated[
        str | None,
        typer.Option(help="Side, or WIDTHxHEIGHT, in level-0 pixels.", show_default="the model's whole field"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SampleOptions(RunOptions, _SampledSlide):
    """The options of `sample`."""


@dataclass(frozen=True, kw_only=True)
class _OutpaintedSlide:
    model: Annotated[
        str,
        typer.Option(
            help="A cascade's folder, a zip of one, or the id of a repository; it must be unconditional.",
            show_default=False,
        ),
    ]
    size: Annotated[
        str, typer.Option(help="Side, or WIDTHxHEIGHT, in pixels of the cascade's images.", show_default=False)
    ]
    out: Out = Path("slide.tiff")
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres a pixel of the cascade's images.", show_default="as the cascade says"),
    ] = None
    overlap: Annotated[float, typer.Option(min=0, max=0.5, help="Share of a patch that overlaps the next.")] = 0.125


@dataclass(frozen=True, kw_only=True)
class OutpaintOptions(RunOptions, _OutpaintedSlide):
    """The options of `outpaint`."""
