"""The options of `tile` and `export`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from urcdm_app import builtin
from urcdm_app.options.kinds import Overwrite, Plan, Ray, Resume, Workers


class WholeSlide(StrEnum):
    """How a field shows a slide that is larger."""

    CROP = "crop"
    COVER = "cover"


class PictureFormat(StrEnum):
    """How images are stored."""

    PNG = "png"
    JPEG = "jpeg"


@dataclass(frozen=True, kw_only=True)
class TileOptions:
    """The options of `tile`."""

    slides: Annotated[
        list[str],
        typer.Argument(help="Slides, folders of slides, or patterns: OpenSlide formats, TIFF, PNG, JPEG."),
    ]
    out: Annotated[Path, typer.Option(help="Folder for the table and the overview pictures.")] = Path("tiles")
    plan: Plan = builtin.PLAN
    min_tissue: Annotated[float, typer.Option(min=0, max=1, help="Least share of tissue in a tile.")] = 0.05
    overlap: Annotated[float, typer.Option(min=0, max=0.95, help="Share of a tile that overlaps the next.")] = 0.0
    shifts: Annotated[
        bool, typer.Option("--shifts", help="Add the tiles moved by half a tile in x, in y and in both.")
    ] = False
    fields: Annotated[
        WholeSlide | None,
        typer.Option(
            help="How the first field shows a slide that is larger: centred, or several that cover it.",
            show_default="side by side, as many as fit",
        ),
    ] = None
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Micrometres a level-0 pixel of slides that do not state their scale; those that do keep it.",
            show_default="such slides are set aside",
        ),
    ] = None
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns slide,patient.", show_default="each slide is a patient"),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="Splits and their shares of the tiles, by patient: train=0.8,validation=0.1,test=0.1.",
            show_default="all to train",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another split.")] = 0
    workers: Workers = None
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds for one slide; a slower one is set aside.")
    ] = None
    ray: Ray = None
    overwrite: Overwrite = False
    resume: Resume = False


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """The options of `export`."""

    tiles: Annotated[Path, typer.Option(help="Folder or table that 'tile' wrote.")] = Path("tiles")
    out: Annotated[Path, typer.Option(help="Folder for the shards, one inside it for each magnification.")] = Path(
        "shards"
    )
    plan: Plan = builtin.PLAN
    level: Annotated[
        str | None, typer.Option(help="Export this magnification only, such as 'high'.", show_default="all")
    ] = None
    contexts: Annotated[
        int, typer.Option(min=0, help="How many of the magnifications above go with a tile, round its centre.")
    ] = 1
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of label pictures (PNG, TIFF) of the slides' sizes and names.", show_default="none"),
    ] = None
    picture_format: Annotated[
        PictureFormat, typer.Option("--format", help="png is exact; jpeg takes a quarter of the room.")
    ] = PictureFormat.PNG
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 90
    compress: Annotated[
        bool, typer.Option("--compress/--no-compress", help="PNG without compression is larger, but read much faster.")
    ] = True
    tiles_per_shard: Annotated[int, typer.Option(min=1, help="Tiles in a tar file.")] = 1000
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another order.")] = 0
    workers: Workers = None
    ray: Ray = None
    overwrite: Overwrite = False
    resume: Resume = False
