"""Commands that make slides and describe them. What takes time to import is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from run_folder import UsageError
from urcdm_app import builtin
from urcdm_app.cli.app import app, command
from urcdm_app.options.kinds import ANY_STUDY_PLAN, MODEL_KINDS
from urcdm_app.options.sampling import OutpaintOptions, SampleOptions


@command(SampleOptions)
def sample(options: SampleOptions) -> None:
    """Sample a new slide: a pyramidal TIFF that OpenSlide and QuPath open, a preview, and a report.

    First the whole slide small, then its magnifications patch by patch. What is done is kept in a folder beside the
    slide (.canvas) until the slide is whole: an interrupted run goes on with **--resume**.

    Examples: **urcdm-app sample** · **urcdm-app sample --seed 7 --out seven.tiff** ·
    **urcdm-app sample --model runs/mine/model --size 1536x1024**
    """
    from urcdm_app.sampling.sample import run_sample

    run_sample(options)


@command(OutpaintOptions)
def outpaint(options: OutpaintOptions) -> None:
    """Sample a slide by outpainting: one cascade, patch after patch, each held to its neighbours and to nothing else.

    The baseline of an ultra-resolution cascade. Such a slide has no global structure: tissue has no outline.

    Example: **urcdm-app outpaint --model cascade --mpp 0.5 --size 1024x1024 --out outpainted.tiff**
    """
    from urcdm_app.sampling.outpaint import run_outpaint

    run_outpaint(options)


@app.command()
def info(
    source: Annotated[
        str | None,
        typer.Argument(help=f"A slide, or {MODEL_KINDS}.", show_default="the built-in model"),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help=f"Show a training plan instead: a TOML file, or {ANY_STUDY_PLAN}.", show_default=False),
    ] = None,
) -> None:
    """Show what a model or a slide is: levels, networks, where its weights come from; size, scale, background.

    **--plan** shows the networks of a training plan, with estimates of the memory that they take of a GPU, and how many
    images at once (`chunk_size`) fit on GPUs of several sizes. No GPU is needed for that.

    Examples: **urcdm-app info runs/train/model** · **urcdm-app info --plan mine.toml**
    """
    if plan is None:
        from urcdm_app.info import run_info

        run_info(source or str(builtin.MODEL))
    elif source is not None:
        raise UsageError(f"info: both {source} and --plan {plan}; give one of them")
    else:
        from urcdm_app.plan_info import run_plan_info

        run_plan_info(plan)


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
