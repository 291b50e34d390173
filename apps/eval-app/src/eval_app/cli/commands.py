"""The commands. What takes time to import is imported by the command that needs it."""

from eval_app.cli.app import app
from eval_app.options import (
    FidOptions,
    MemoriseOptions,
    PfidOptions,
    ReportOptions,
    SegOptions,
    TrainingZipOptions,
    TwoSampleOptions,
)
from run_folder.options import takes_options


@app.command()
@takes_options(FidOptions)
def fid(options: FidOptions) -> None:
    """Measure whole images: FID, KID, precision, recall, density and coverage.

    Each side is a folder of images, with the folders inside. Either may be a file of statistics, as pytorch-fid,
    clean-fid and **--save-statistics** write them; then only an FID is computed.

    Example: **eval-app fid real/ generated/ --out fid.json**
    """
    from eval_app.measuring.fid import measure_images

    measure_images(options)


@app.command()
@takes_options(PfidOptions)
def pfid(options: PfidOptions) -> None:
    """Measure slides, or images of any size, by crops: patch-FID with its interval, by magnification, extrapolated.

    Crops of matching scales and positions are planned, and the plan is kept: with **--plan** a value can be computed
    again, crop by crop. Folders of images are read by Lanczos, as published; if a side has slides, both are read as
    slides. TIFF files are slides.

    Examples: **eval-app pfid --real a.svs --real b.svs --fake generated.tiff --out pfid** ·
    **eval-app pfid --real real/ --fake generated/ --protocol paired --crops 10000**
    """
    from eval_app.measuring.patch_fid import measure_patches

    measure_patches(options)


@app.command()
@takes_options(MemoriseOptions)
def memorise(options: MemoriseOptions) -> None:
    """Find copies of training images: the nearest one for each generated image, and the share that is too near.

    An image counts as a copy if it is as near to a training image as the nearest 5 % (**--quantile**) of real images
    are that were not trained on.

    Example: **eval-app memorise --train tiles/ --held-out other-patients/ --fake generated/**
    """
    from eval_app.measuring.memorise import find_copies

    find_copies(options)


@app.command("two-sample")
@takes_options(TwoSampleOptions)
def two_sample(options: TwoSampleOptions) -> None:
    """Train a classifier to tell real from generated images, and measure its accuracy on images it has not seen.

    0.5 is best: the classifier cannot tell them apart. Images of one sub-folder, such as those of a slide, are a group
    that is never split between training and test; without sub-folders each name is a group, the same one on both
    sides. Nothing is downloaded. 200 images a side take about two minutes on one core.

    Example: **eval-app two-sample --real real/ --fake generated/ --out ours**
    """
    from eval_app.measuring.two_sample import classify_sides

    classify_sides(options)


@app.command()
@takes_options(SegOptions)
def seg(options: SegOptions) -> None:
    """Measure masks of nuclei: Dice, AJI, AJI+, PQ, each the mean over images with a 95 % interval over them.

    In masks of nuclei each nucleus has a number of its own; which one does not matter. An image without prediction
    scores 0, one without nuclei and without prediction 1.

    Example: **eval-app seg kumar/instances predictions --groups kumar/index.csv**
    """
    from eval_app.measuring.segmentation import measure_masks

    measure_masks(options)


@app.command()
@takes_options(ReportOptions)
def report(options: ReportOptions) -> None:
    """Make one page of results: tables, plots, pairs of crops and closest pairs. It needs no network.

    Values that mean different things (another extractor, other crops, another real side) are never in one table.

    Example: **eval-app report ours/ outpainting/ fid.json --out report.html**
    """
    from eval_app.report import write_report

    write_report(options)


@app.command()
@takes_options(TrainingZipOptions)
def export(options: TrainingZipOptions) -> None:
    """Write a data set in the zip form that StyleGAN3 trains on: square PNG files and dataset.json, without labels.

    Of slides, the tiles that hold tissue; of other images, the middle square.

    Example: **eval-app export slides/ --field 1024 --size 256 --out data.zip**
    """
    from eval_app.export import export_images

    export_images(options)
