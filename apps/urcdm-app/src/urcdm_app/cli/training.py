"""Commands from slides to a trained model. What takes time to import is imported by the command that needs it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from urcdm_app import builtin
from urcdm_app.cli.app import app
from urcdm_app.options.kinds import MODEL_KINDS, Device, Gpus, Overwrite, Plan, Ray, Resume, Workers

MOST_TRAINING_STEPS = 10**9


class WholeSlide(StrEnum):
    """How a field shows a slide that is larger."""

    CROP = "crop"
    COVER = "cover"


class DistillationMethod(StrEnum):
    """How students are taught."""

    PROGRESSIVE = "progressive"
    CONSISTENCY = "consistency"


class PictureFormat(StrEnum):
    """How pictures are kept."""

    PNG = "png"
    JPEG = "jpeg"


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
        typer.Option(
            help="Micrometres a level-0 pixel of slides that do not state their scale; those that do keep it.",
            show_default="such slides are set aside",
        ),
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

    A slide that cannot be read, is of another scale, or is the same as another under a second name is set aside and
    listed; the others go on. What is done is kept: **--resume** goes on with an interrupted run, or with slides that
    were added, given together with the earlier ones. **--overwrite** removes the files of an earlier run, no others.

    Examples: **urcdm-app tile first.svs second.svs --out tiles** · **urcdm-app tile slides/ --workers 8 --patients
    patients.csv --split train=0.8,validation=0.1,test=0.1**
    """
    from urcdm_app.tiling.tile import run_tile

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
    from urcdm_app.tiling.export import run_export

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
        int | None,
        typer.Option(
            min=1, max=MOST_TRAINING_STEPS, help="Training steps of every network.", show_default="as the plan says"
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default="as the plan says")] = None,
    only: Annotated[
        str | None, typer.Option(help="Train this network only, such as 'high-128'.", show_default="all, in turn")
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", help=f"What to start from: {MODEL_KINDS}.", show_default="fresh weights"),
    ] = None,
    device: Device = "auto",
    gpus: Gpus = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Train the networks of a plan on tiles, and put the model together.

    Every network has a folder with its log (log.jsonl), sample pictures (samples/) and state, from which **--resume**
    goes on. Networks are independent: train them on several machines with **--only**. With **--validation**, or
    a split of that name in the tiles, the loss on held-out slides is measured too.

    Examples: **urcdm-app train --tiles tiles --out runs/mine** · **urcdm-app train --steps 20 --batch 4** (a quick try)
    """
    from urcdm_app.training.job_run import run_job
    from urcdm_app.training.train import TrainJob, TrainRequest

    run_job(
        TrainJob,
        TrainRequest(
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
        ),
        gpus=gpus,
    )


@app.command()
def distill(
    model: Annotated[
        str, typer.Option(help=f"The model to learn from: {MODEL_KINDS}.", show_default="the built-in model's teacher")
    ] = str(builtin.TEACHER),
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
        "runs/distill"
    ),
    plan: Plan = builtin.PLAN,
    least: Annotated[int, typer.Option("--to", min=1, help="Sampling steps of every network at the end.")] = 4,
    method: Annotated[
        DistillationMethod,
        typer.Option(help="Halve the steps student by student, or go to the last at once, learning from itself."),
    ] = DistillationMethod.PROGRESSIVE,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_TRAINING_STEPS, help="Training steps of every student.", show_default="as the plan says"
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default="as the plan says")] = None,
    only: Annotated[
        str | None, typer.Option(help="Distil this network only, such as 'high-128'.", show_default="all, in turn")
    ] = None,
    device: Device = "auto",
    gpus: Gpus = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Teach a model's networks to take few steps: each student does in one step what its teacher does in two.

    Students follow one another, each with half the steps of the one before; or there is one only, with **--method
    consistency**. The plan is that of the model's training; its numbers of steps and images are those of every student.
    **--resume** goes on with an interrupted run.

    Example: **urcdm-app distill --model runs/mine/model --tiles tiles --to 4 --steps 2000**
    """
    from urcdm_app.training.distill import DistillJob, DistillRequest
    from urcdm_app.training.job_run import run_job

    run_job(
        DistillJob,
        DistillRequest(
            model=model,
            tiles=tiles,
            validation=validation,
            out=out,
            plan_path=plan,
            least=least,
            method=method.value,
            steps=steps,
            batch=batch,
            only=only,
            device=device,
            overwrite=overwrite,
            resume=resume,
        ),
        gpus=gpus,
    )


@app.command()
def finish(
    model: Annotated[
        str, typer.Option(help=f"The model with students: {MODEL_KINDS}.", show_default="the built-in model")
    ] = str(builtin.MODEL),
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
        "runs/finish"
    ),
    plan: Plan = builtin.PLAN,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_TRAINING_STEPS, help="Training steps of every network.", show_default="as the plan says"
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default="as the plan says")] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Finish this network only, such as 'high-128'.", show_default="all students, in turn"),
    ] = None,
    device: Device = "auto",
    gpus: Gpus = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Train a model's students on against discriminators on real images, which makes what they draw crisp.

    A student has its teacher's faults; a finished one learns from the slides themselves, at the few times at which
    sampling asks it. A network's table 'finishing' in the plan says how. **--resume** goes on with an interrupted run.

    Example: **urcdm-app finish --model runs/fast/model --tiles tiles --only high-128**
    """
    from urcdm_app.training.finish import FinishJob, FinishRequest
    from urcdm_app.training.job_run import run_job

    run_job(
        FinishJob,
        FinishRequest(
            model=model,
            tiles=tiles,
            validation=validation,
            out=out,
            plan_path=plan,
            steps=steps,
            batch=batch,
            only=only,
            device=device,
            overwrite=overwrite,
            resume=resume,
        ),
        gpus=gpus,
    )
