"""Commands that make slides and tell about them. What takes time to import is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from urcdm_app import builtin
from urcdm_app.cli.app import app
from urcdm_app.cli.options import MODEL_KINDS, Device, Overwrite, Resume


@app.command()
def sample(
    model: Annotated[
        str, typer.Option(help=f"{MODEL_KINDS[0].upper()}{MODEL_KINDS[1:]}.", show_default="the built-in one")
    ] = str(builtin.MODEL),
    out: Annotated[
        Path, typer.Option(help="The slide; a preview .png and a report .html are written beside it.")
    ] = Path("slide.tiff"),
    size: Annotated[
        str | None,
        typer.Option(help="Side, or WIDTHxHEIGHT, in level-0 pixels.", show_default="the model's whole field"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another slide.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps of every stage.", show_default="as the model says")
    ] = None,
    resample: Annotated[
        int, typer.Option(min=1, help="Run each step this often where patches join (RePaint); slower, smoother.")
    ] = 1,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint/--in-order",
            help="All patches take each step together, averaged where they overlap; or one after the other, each "
            "holding what its neighbours drew.",
        ),
    ] = False,
    batch: Annotated[
        str, typer.Option(help="Patches sampled together, which does not change the slide; auto measures on a GPU.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="'auto', 'fp32' or 'bf16'; auto takes bf16 on GPUs that have it.")
    ] = "auto",
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the networks first, which takes minutes.",
            show_default="those with minutes of work, on a GPU",
        ),
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Draw a new slide: a pyramidal TIFF that OpenSlide and QuPath open, a preview, and a report.

    First the whole slide small, then its magnifications patch by patch. What is done is kept in a folder beside the
    slide (.canvas) until the slide is whole: an interrupted run goes on with **--resume**.

    Examples: **urcdm-app sample** · **urcdm-app sample --seed 7 --out seven.tiff** ·
    **urcdm-app sample --model runs/mine/model --size 1536x1024**
    """
    from urcdm_app.sample import run_sample

    run_sample(
        model_source=model,
        out=out,
        size=size,
        seed=seed,
        steps=steps,
        resample=resample,
        joint=joint,
        batch=batch,
        precision=precision,
        compiled=compiled,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def info(
    source: Annotated[
        str,
        typer.Argument(help=f"A slide, or {MODEL_KINDS}.", show_default="the built-in model"),
    ] = str(builtin.MODEL),
) -> None:
    """Show what a model or a slide is: levels, networks, where its weights come from; size, scale, background."""
    from urcdm_app.info import run_info

    run_info(source)


@app.command()
def view(
    slides: Annotated[list[Path], typer.Argument(help="Slides or pictures, shown side by side.", show_default=False)],
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of this machine; 0 is any free one.", show_default="8765, or a free one"
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Show slides in the browser, side by side, with linked zoom. Only this machine can see them.

    Slides whose scale is known are linked by their micrometres, others by their width.

    Examples: **urcdm-app view slide.tiff** · **urcdm-app view real.svs slide.tiff --no-browser**
    """
    from urcdm_app.view.run import run_view

    run_view(slides, port=port, browser=browser)
