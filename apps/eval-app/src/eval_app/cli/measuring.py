"""Commands that measure. What takes time to import is imported by the command that needs it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eval_app.cli.app import app
from eval_app.cli.options import (
    AllowFew,
    Batch,
    Device,
    Download,
    Extractor,
    InceptionFolder,
    Name,
    Overwrite,
    Seed,
    SkipUnreadable,
)


class Protocol(StrEnum):
    """How crops are drawn."""

    ANY_RESOLUTION = "any-resolution"
    PAIRED = "paired"


@app.command()
def fid(
    real: Annotated[Path, typer.Argument(help="Folder of real images, or statistics (.npz).", show_default=False)],
    fake: Annotated[Path, typer.Argument(help="Folder of generated images, or statistics.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="JSON file, for 'report'.", show_default="none")] = None,
    name: Name = None,
    save_statistics: Annotated[
        Path | None,
        typer.Option(help="Keep the statistics of the real side: an .npz to give as REAL.", show_default="not kept"),
    ] = None,
    extractor: Extractor = None,
    inception_folder: InceptionFolder = None,
    download: Download = False,
    device: Device = "auto",
    batch: Batch = 64,
    seed: Seed = 0,
    allow_few: AllowFew = False,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure whole images: FID, KID, precision, recall, density and coverage.

    Each side is a folder of images, with the folders inside. Either may be a file of statistics, as pytorch-fid,
    clean-fid and **--save-statistics** write them; then there is an FID only.

    Example: **eval-app fid real/ generated/ --out fid.json**
    """
    from eval_app.measuring.extractors import ExtractorChoice
    from eval_app.measuring.fid import run_fid

    run_fid(
        real=real,
        fake=fake,
        out=out,
        name=name,
        save_statistics=save_statistics,
        choice=ExtractorChoice(extractor, inception_folder, download),
        device=device,
        batch=batch,
        seed=seed,
        allow_few=allow_few,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
    )


@app.command()
def pfid(
    real: Annotated[list[Path], typer.Option(help="Real slide, or folder of images or slides; may be repeated.")],
    fake: Annotated[list[Path], typer.Option(help="The same, generated.")],
    out: Annotated[Path, typer.Option(help="Folder for the plan, features, figures and picture.")] = Path("pfid"),
    name: Name = None,
    plan: Annotated[
        Path | None, typer.Option(help="Measure the crops of this plan.npz again.", show_default="a new one")
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="any-resolution: squares of each image's smaller side (Chai et al. 2022); paired: squares of the "
            "smallest of a pair's sides."
        ),
    ] = Protocol.ANY_RESOLUTION,
    crops: Annotated[int, typer.Option(min=2, help="Number of crops a side.")] = 50_000,
    patch: Annotated[int, typer.Option(min=1, help="Side of a crop, pixels.")] = 256,
    size_min: Annotated[
        int | None,
        typer.Option(min=1, help="Smallest scale: what a square is resized to, pixels.", show_default="one crop"),
    ] = None,
    size_max: Annotated[int, typer.Option(min=0, help="Largest scale; 0 is that of the images themselves.")] = 0,
    without_white: Annotated[
        bool, typer.Option("--without-white", help="Leave out pairs of which a crop is bare glass.")
    ] = False,
    seed: Seed = 0,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the interval; 0 for none.")] = 100,
    extractor: Extractor = None,
    inception_folder: InceptionFolder = None,
    download: Download = False,
    device: Device = "auto",
    batch: Batch = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read crops; 0 reads in this one.")] = 2,
    allow_few: AllowFew = False,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Measure slides, or images of any size, by crops: patch-FID with its interval, by magnification, extrapolated.

    Crops of matching scales and places are planned, and the plan is kept: with **--plan** a figure can be worked out
    again, crop by crop. Folders of pictures are read by Lanczos, as published; where a side has slides, both are read
    as slides. TIFF files are slides.

    Examples: **eval-app pfid --real a.svs --real b.svs --fake generated.tiff --out pfid** ·
    **eval-app pfid --real real/ --fake generated/ --protocol paired --crops 10000**
    """
    from eval_app.measuring.extractors import ExtractorChoice
    from eval_app.measuring.patch_fid import CropSettings, run_pfid

    run_pfid(
        real=real,
        fake=fake,
        out=out,
        name=name,
        plan_file=plan,
        crops=CropSettings(protocol.value, crops, patch, size_min, size_max, without_white, seed),
        resamples=resamples,
        choice=ExtractorChoice(extractor, inception_folder, download),
        device=device,
        batch=batch,
        workers=workers,
        allow_few=allow_few,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
        resume=resume,
    )


@app.command()
def memorise(
    train: Annotated[Path, typer.Option(help="Folder of training images.", show_default=False)],
    fake: Annotated[Path, typer.Option(help="Folder of generated images.", show_default=False)],
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real images that were not trained on, best of other patients.",
            show_default="each training image against the others",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures and the picture.")] = Path("memorise"),
    name: Name = None,
    quantile: Annotated[
        float, typer.Option(min=0.0001, max=0.9999, help="Share of the real images that is to count as copies.")
    ] = 0.05,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs in the picture.")] = 12,
    extractor: Extractor = None,
    inception_folder: InceptionFolder = None,
    download: Download = False,
    device: Device = "auto",
    batch: Batch = 64,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Find copies of training images: the nearest one for each generated image, and the share that is too near.

    An image counts as a copy if it is as near to a training image as the nearest 5 % (**--quantile**) of real images
    are that were not trained on.

    Example: **eval-app memorise --train tiles/ --held-out other-patients/ --fake generated/**
    """
    from eval_app.measuring.extractors import ExtractorChoice
    from eval_app.measuring.memorise import run_memorise

    run_memorise(
        train=train,
        fake=fake,
        held_out=held_out,
        out=out,
        name=name,
        quantile=quantile,
        pairs=pairs,
        choice=ExtractorChoice(extractor, inception_folder, download),
        device=device,
        batch=batch,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
    )


@app.command("two-sample")
def two_sample(
    real: Annotated[Path, typer.Option(help="Folder of real images.", show_default=False)],
    fake: Annotated[Path, typer.Option(help="Folder of generated images.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the figures and the picture.")] = Path("two-sample"),
    name: Name = None,
    crop: Annotated[
        int | None,
        typer.Option(min=16, help="Side of a crop, pixels.", show_default="64, or the smallest side if that is less"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each fold.")] = 300,
    batch: Annotated[int, typer.Option(min=2, help="Crops in a step, half of them real.")] = 16,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds; fewer if a side has fewer groups.")] = 5,
    seed: Seed = 0,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the interval; 0 for none.")] = 1000,
    shown: Annotated[int, typer.Option(min=1, help="Images in each half of the picture.")] = 12,
    device: Device = "auto",
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a classifier to tell real from generated images, and measure its accuracy on images it has not seen.

    0.5 is best: it cannot tell. Images of one sub-folder, such as those of a slide, are a group that is never split
    between training and test; without sub-folders each name is a group, the same one on both sides. Nothing is
    downloaded. 200 images a side take about two minutes on one core.

    Example: **eval-app two-sample --real real/ --fake generated/ --out ours**
    """
    from eval_app.measuring.two_sample import run_two_sample
    from pfid import ClassifierConfig

    run_two_sample(
        real=real,
        fake=fake,
        out=out,
        name=name,
        config=ClassifierConfig(crop, steps, batch),
        folds=folds,
        resamples=resamples,
        shown=shown,
        seed=seed,
        device=device,
        skip_unreadable=skip_unreadable,
        overwrite=overwrite,
    )


@app.command()
def seg(
    truth: Annotated[Path, typer.Argument(help="Folder of true masks: PNG or TIFF, one number a pixel, 0 for none.")],
    predicted: Annotated[Path, typer.Argument(help="Folder of predicted ones, with the same names.")],
    semantic: Annotated[
        bool, typer.Option("--semantic", help="The numbers are classes, and not those of nuclei: Dice of each class.")
    ] = False,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns image and split: means of each split, too.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file for the figures, with those of every image.", show_default=False)
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Measure masks of nuclei: Dice, AJI, AJI+, PQ, each the mean over images with a 95 % interval over them.

    In masks of nuclei each nucleus has a number of its own; which one does not matter. An image without prediction
    scores 0, one without nuclei and without prediction 1.

    Example: **eval-app seg kumar/instances predictions --groups kumar/index.csv**
    """
    from eval_app.measuring.segmentation import run_seg

    run_seg(
        truth=truth,
        predicted=predicted,
        semantic=semantic,
        groups=groups,
        out=out,
        seed=seed,
        overwrite=overwrite,
    )
