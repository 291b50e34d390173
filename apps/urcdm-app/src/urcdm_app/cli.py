"""The command line. What takes time to import is imported by the command that needs it."""

import sys
from enum import StrEnum
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
**export** makes image files of tiles, for other trainers.
""",
)

Plan = Annotated[
    Path, typer.Option(help="Training plan (TOML); 'urcdm-app plan' prints the built-in one.", show_default=False)
]
Device = Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:N'; auto takes a GPU where there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that share the work.", show_default="1, or all of a Ray cluster")
]
Ray = Annotated[
    str | None, typer.Option(help="Work on a Ray cluster: 'auto', or its address.", show_default="this machine")
]


class WholeSlide(StrEnum):
    """How a field shows a slide that is larger."""

    CROP = "crop"
    COVER = "cover"


class PictureFormat(StrEnum):
    """How pictures are kept."""

    PNG = "png"
    JPEG = "jpeg"


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
        precision=precision,
        compiled=compiled,
        device=device,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def tile(
    slides: Annotated[
        list[str],
        typer.Argument(help="Slides, folders of slides, or patterns: OpenSlide formats, TIFF, PNG, JPEG."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the table and the overview pictures.")] = Path("tiles"),
    plan: Plan = builtin.PLAN,
    min_tissue: Annotated[float, typer.Option(min=0, max=1, help="Least share of tissue in a tile.")] = 0.05,
    overlap: Annotated[float, typer.Option(min=0, max=0.95, help="Share of a tile that overlaps the next.")] = 0.0,
    shifts: Annotated[
        bool, typer.Option("--shifts", help="Add the tiles moved by half a tile in x, in y and in both.")
    ] = False,
    fields: Annotated[
        WholeSlide | None,
        typer.Option(
            help="How the first field shows a slide that is larger: centred, or several that cover it.",
            show_default="side by side, as many as fit",
        ),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres a level-0 pixel, for slides that do not say.", show_default="from the slide"),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns slide,patient.", show_default="each slide is a patient"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Splits and their shares of the tiles, by patient: train=0.8,validation=0.1,test=0.1.",
            show_default="all to train",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another split.")] = 0,
    workers: Workers = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds for one slide; a slower one is set aside.")
    ] = None,
    ray: Ray = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Find the tissue of slides: a table of tiles for every magnification of the plan, and a picture for each slide.

    A slide that cannot be read, or is of another scale, is set aside and told; the others go on. What is done is kept:
    **--resume** goes on with an interrupted run, or with slides that were added.

    Examples: **urcdm-app tile first.svs second.svs --out tiles** · **urcdm-app tile slides/ --workers 8 --patients
    patients.csv --split train=0.8,validation=0.1,test=0.1**
    """
    from urcdm_app.tile import run_tile

    run_tile(
        places=slides,
        out=out,
        plan_path=plan,
        min_tissue=min_tissue,
        overlap=overlap,
        shifts=shifts,
        fields=fields,
        mpp=mpp,
        patients_path=patients,
        split=split,
        seed=seed,
        workers=workers,
        timeout_s=timeout,
        ray=ray,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def export(
    tiles: Annotated[Path, typer.Option(help="Folder or table that 'tile' wrote.")] = Path("tiles"),
    out: Annotated[Path, typer.Option(help="Folder for the shards, one inside it for each magnification.")] = Path(
        "shards"
    ),
    plan: Plan = builtin.PLAN,
    level: Annotated[
        str | None, typer.Option(help="Export this magnification only, such as 'high'.", show_default="all")
    ] = None,
    contexts: Annotated[
        int, typer.Option(min=0, help="How many of the magnifications above go with a tile, round its centre.")
    ] = 1,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of label pictures (PNG, TIFF) of the slides' sizes and names.", show_default="none"),
    ] = None,
    picture_format: Annotated[
        PictureFormat, typer.Option("--format", help="png is exact; jpeg takes a quarter of the room.")
    ] = PictureFormat.PNG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 90,
    compress: Annotated[
        bool, typer.Option("--compress/--no-compress", help="PNG without compression is larger, but read much faster.")
    ] = True,
    tiles_per_shard: Annotated[int, typer.Option(min=1, help="Tiles in a tar file.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another order.")] = 0,
    workers: Workers = None,
    ray: Ray = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Export tiles as PNG or JPEG files in tar shards, shuffled, for any trainer that reads WebDataset.

    Example: **urcdm-app export --tiles tiles --out shards --format jpeg --workers 8**
    """
    from urcdm_app.export import run_export

    run_export(
        tiles=tiles,
        out=out,
        plan_path=plan,
        level=level,
        contexts=contexts,
        masks=masks,
        picture_format="jpeg" if picture_format is PictureFormat.JPEG else "png",
        quality=quality,
        compress=compress,
        tiles_per_shard=tiles_per_shard,
        seed=seed,
        workers=workers,
        ray=ray,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def train(
    tiles: Annotated[Path, typer.Option(help="Folder or table that 'tile' wrote, or shards of 'export'.")] = Path(
        "tiles"
    ),
    validation: Annotated[
        Path | None,
        typer.Option(
            help="The same of held-out slides, to measure the loss on.", show_default="the split 'validation', if any"
        ),
    ] = None,
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
    goes on. Networks are independent: train them on several machines with **--only**. With **--validation**, or
    a split of that name in the tiles, the loss on held-out slides is measured too.

    Examples: **urcdm-app train --tiles tiles --out runs/mine** · **urcdm-app train --steps 20 --batch 4** (a quick try)
    """
    from urcdm_app.train import run_train

    run_train(
        tiles=tiles,
        validation=validation,
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
