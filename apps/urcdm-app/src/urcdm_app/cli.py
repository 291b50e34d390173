"""The command line. What takes time to import is imported by the command that needs it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from urcdm_app import builtin
from urcdm_app.console import console, errors
from urcdm_app.errors import user_message

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""

app = typer.Typer(
    name="urcdm-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Generate whole histology slides with an ultra-resolution cascade of diffusion models.

Start with **urcdm-app sample**: it draws a slide with the small built-in model, in about two minutes on two CPU cores.

For your own slides: **tile** finds the tissue, **train** trains a model on it, **sample** draws from that model.
""",
)

Plan = Annotated[
    Path, typer.Option(help="Training plan (TOML); 'urcdm-app plan' prints the built-in one.", show_default=False)
]
Device = Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:N'; auto takes a GPU where there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]


@app.command()
def sample(
    model: Annotated[Path, typer.Option(help="Model folder.", show_default="the built-in one")] = builtin.MODEL,
    out: Annotated[Path, typer.Option(help="The slide; a preview .png is written beside it.")] = Path("slide.tiff"),
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
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Patches sampled together; does not change the slide.", show_default="by device"),
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Draw a new slide: a pyramidal TIFF that OpenSlide and QuPath open, and a preview.

    First the whole slide small, then its magnifications patch by patch. What is done is kept in a folder beside the
    slide (.canvas) until the slide is whole: an interrupted run goes on with **--resume**.

    Examples: **urcdm-app sample** · **urcdm-app sample --seed 7 --out seven.tiff** ·
    **urcdm-app sample --model runs/mine/model --size 1536x1024**
    """
    from urcdm_app.sample import run_sample

    run_sample(
        model_path=model,
        out=out,
        size=size,
        seed=seed,
        steps=steps,
        resample=resample,
        batch=batch,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def tile(
    slides: Annotated[list[Path], typer.Argument(help="Slides: OpenSlide formats, TIFF, PNG, JPEG.")],
    out: Annotated[Path, typer.Option(help="Folder for the table and the overview pictures.")] = Path("tiles"),
    plan: Plan = builtin.PLAN,
    min_tissue: Annotated[float, typer.Option(min=0, max=1, help="Least share of tissue in a tile.")] = 0.05,
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres a level-0 pixel, for slides that do not say.", show_default="from the slide"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the tissue of slides: a table of tiles for every magnification of the plan, and a picture for each slide.

    Example: **urcdm-app tile first.svs second.svs --out tiles**
    """
    from urcdm_app.tile import run_tile

    run_tile(slide_paths=slides, out=out, plan_path=plan, min_tissue=min_tissue, mpp=mpp, overwrite=overwrite)


@app.command()
def train(
    tiles: Annotated[Path, typer.Option(help="Folder or table that 'tile' wrote.")] = Path("tiles"),
    out: Annotated[Path, typer.Option(help="Folder of the run: a folder for each network, and the model.")] = Path(
        "runs/train"
    ),
    plan: Plan = builtin.PLAN,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of every network.", show_default="as the plan says")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default="as the plan says")] = None,
    only: Annotated[
        str | None, typer.Option(help="Train this network only, such as 'high-128'.", show_default="all, in turn")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="Model folder to start from.", show_default="fresh weights")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Train the networks of a plan on tiles, and put the model together.

    Every network has a folder with its log (log.jsonl), sample pictures (samples/) and state, from which **--resume**
    goes on. Networks are independent: train them on several machines with **--only**.

    Examples: **urcdm-app train --tiles tiles --out runs/mine** · **urcdm-app train --steps 20 --batch 4** (a quick try)
    """
    from urcdm_app.train import run_train

    run_train(
        tiles=tiles,
        out=out,
        plan_path=plan,
        steps=steps,
        batch=batch,
        only=only,
        start_from=start_from,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def info(
    path: Annotated[
        Path, typer.Argument(help="A model folder or a slide.", show_default="the built-in model")
    ] = builtin.MODEL,
) -> None:
    """Show what a model or a slide is: levels, networks, where its weights come from; size, scale, background."""
    from urcdm_app.info import run_info

    run_info(path)


@app.command()
def plan(
    name: Annotated[
        str,
        typer.Argument(help="'small' (the built-in model), or the study's 'study', 'study-code' or 'airs'."),
    ] = "small",
) -> None:
    """Print a plan, to start your own from.

    Example: **urcdm-app plan > mine.toml**
    """
    from urcdm_app.plan import plan_text

    console.file.write(plan_text(name))


def main() -> None:
    """Runs the command line; what a user can mend is told in one line, with exit code 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            errors.print("stopped; what is done is kept, go on with --resume", style="yellow")
        raise
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        errors.print(f"urcdm-app: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
