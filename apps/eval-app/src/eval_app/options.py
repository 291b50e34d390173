"""Options of the commands. What several commands share is inherited."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Options of every command."""

    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier output.")] = False


@dataclass(frozen=True, kw_only=True)
class ImageOptions(OutputOptions):
    """Options of the commands that measure images."""

    name: Annotated[
        str | None,
        typer.Option(help="Name of the generated side in reports.", show_default="that of its folder or file"),
    ] = None
    device: Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:N'; auto uses a GPU if there is one.")] = (
        "auto"
    )
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out unreadable images, and count them.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class ExtractorOptions(ImageOptions):
    """Options of the commands that extract features."""

    extractor: Annotated[
        str | None,
        typer.Option(
            help="'light' (EfficientNet-Lite0, offline), 'inception' (clean-fid's, as papers report), or a TorchScript "
            "file that computes features (B, D) of 8-bit images (B, 3, H, W).",
            show_default="inception if --inception-folder is given, else light",
        ),
    ] = None
    inception_folder: Annotated[
        Path | None, typer.Option(help="Folder of inception-2015-12-05.pt.", show_default=False)
    ] = None
    download: Annotated[
        bool, typer.Option("--download", help="Download Inception's file into its folder, if it is missing.")
    ] = False
    batch: Annotated[int, typer.Option(min=1, help="Images that the extractor gets at a time.")] = 64


Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
AllowFew = Annotated[
    bool,
    typer.Option("--allow-few", help="Allow as few images as there are features; FID then depends on their number."),
]


@dataclass(frozen=True, kw_only=True)
class FidOptions(ExtractorOptions):
    """Options of `eval-app fid`."""

    real: Annotated[Path, typer.Argument(help="Folder of real images, or statistics (.npz).", show_default=False)]
    fake: Annotated[Path, typer.Argument(help="Folder of generated images, or statistics.", show_default=False)]
    out: Annotated[Path | None, typer.Option(help="JSON file, for 'report'.", show_default="none")] = None
    save_statistics: Annotated[
        Path | None,
        typer.Option(help="Save the statistics of the real side: an .npz to give as REAL.", show_default="not saved"),
    ] = None
    seed: Seed = 0
    allow_few: AllowFew = False


class Protocol(StrEnum):
    """Protocols of `pfid.plan_crops`."""

    ANY_RESOLUTION = "any-resolution"
    PAIRED = "paired"


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Options that plan crops; `--plan` takes their place."""

    protocol: Annotated[
        Protocol,
        typer.Option(
            help="any-resolution: squares of each image's smaller side (Chai et al. 2022); paired: squares of the "
            "smallest of a pair's sides."
        ),
    ] = Protocol.ANY_RESOLUTION
    crops: Annotated[int, typer.Option(min=2, help="Number of crops a side.")] = 50_000
    patch: Annotated[int, typer.Option(min=1, help="Side of a crop, pixels.")] = 256
    size_min: Annotated[
        int | None,
        typer.Option(min=1, help="Smallest scale: side of a resized square, pixels.", show_default="one crop"),
    ] = None
    size_max: Annotated[int, typer.Option(min=0, help="Largest scale; 0 for that of the images.")] = 0
    without_white: Annotated[
        bool, typer.Option("--without-white", help="Leave out pairs with a crop of bare glass.")
    ] = False
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class PfidOptions(CropOptions, ExtractorOptions):
    """Options of `eval-app pfid`."""

    real: Annotated[list[Path], typer.Option(help="Real slide, or folder of images or slides; may be repeated.")]
    fake: Annotated[list[Path], typer.Option(help="The same, generated.")]
    out: Annotated[Path, typer.Option(help="Folder for the plan, features, values and picture.")] = Path("pfid")
    plan: Annotated[
        Path | None, typer.Option(help="Measure the crops of this plan.npz again.", show_default="a new one")
    ] = None
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the interval; 0 for none.")] = 100
    workers: Annotated[int, typer.Option(min=0, help="Processes that read crops; 0 reads in this one.")] = 2
    allow_few: AllowFew = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False

    @property
    def plans_crops(self) -> bool:
        """Whether an option that plans crops differs from its default."""
        return any(getattr(self, name) != getattr(CropOptions, name) for name in CropOptions.__annotations__)


@dataclass(frozen=True, kw_only=True)
class MemoriseOptions(ExtractorOptions):
    """Options of `eval-app memorise`."""

    train: Annotated[Path, typer.Option(help="Folder of training images.", show_default=False)]
    fake: Annotated[Path, typer.Option(help="Folder of generated images.", show_default=False)]
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real images that were not trained on, preferably of other patients.",
            show_default="each training image against the others",
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Folder for the values and the picture.")] = Path("memorise")
    quantile: Annotated[
        float, typer.Option(min=0.0001, max=0.9999, help="Share of the real images that counts as copies.")
    ] = 0.05
    pairs: Annotated[int, typer.Option(min=1, help="Pairs in the picture.")] = 12


@dataclass(frozen=True, kw_only=True)
class TwoSampleOptions(ImageOptions):
    """Options of `eval-app two-sample`."""

    real: Annotated[Path, typer.Option(help="Folder of real images.", show_default=False)]
    fake: Annotated[Path, typer.Option(help="Folder of generated images.", show_default=False)]
    out: Annotated[Path, typer.Option(help="Folder for the values and the picture.")] = Path("two-sample")
    crop: Annotated[
        int | None,
        typer.Option(min=16, help="Side of a crop, pixels.", show_default="64, or the smallest side if that is less"),
    ] = None
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each fold.")] = 300
    batch: Annotated[int, typer.Option(min=2, help="Crops in a step, half of them real.")] = 16
    folds: Annotated[int, typer.Option(min=2, help="Number of folds; fewer if a side has fewer groups.")] = 5
    seed: Seed = 0
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the interval; 0 for none.")] = 1000
    shown: Annotated[int, typer.Option(min=1, help="Images in each half of the picture.")] = 12


@dataclass(frozen=True, kw_only=True)
class SegOptions(OutputOptions):
    """Options of `eval-app seg`."""

    truth: Annotated[Path, typer.Argument(help="Folder of true masks: PNG or TIFF, one number a pixel, 0 for none.")]
    predicted: Annotated[Path, typer.Argument(help="Folder of predicted masks of the same names.")]
    semantic: Annotated[
        bool, typer.Option("--semantic", help="The numbers are classes and not nuclei: Dice of each class.")
    ] = False
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns image and split: also means of each split.", show_default=False),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="JSON file for the values, with those of every image.", show_default=False)
    ] = None
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class ReportOptions(OutputOptions):
    """Options of `eval-app report`."""

    results: Annotated[
        list[Path], typer.Argument(help="JSON files of the other commands, or their folders.", show_default=False)
    ]
    out: Annotated[Path, typer.Option(help="The page; its values are written beside it as .json.")] = Path(
        "report.html"
    )


@dataclass(frozen=True, kw_only=True)
class TrainingZipOptions(OutputOptions):
    """Options of `eval-app export`."""

    places: Annotated[list[Path], typer.Argument(help="A folder of images, or slides and folders of slides.")]
    size: Annotated[int, typer.Option(min=4, help="Side of the images, a power of two.", show_default=False)]
    out: Annotated[Path, typer.Option(help="The zip file.")] = Path("data.zip")
    field: Annotated[
        float | None,
        typer.Option(min=1, help="Side of a tile of a slide, level-0 pixels.", show_default="that of an image"),
    ] = None
    min_tissue: Annotated[float, typer.Option(min=0, max=1, help="Least share of tissue in a tile.")] = 0.05
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out unreadable images, and count them.")
    ] = False
