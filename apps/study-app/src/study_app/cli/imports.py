"""Commands that fill studies with images. What takes time to import is imported by the command that needs it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study_app.cli.app import app
from study_app.cli.options import Folder
from study_app.settings import load_settings

if TYPE_CHECKING:
    from study_app.images.scaled import SlideSources
    from study_app.importing import StudyOptions


class Kind(StrEnum):
    """The unit that readers see at a time."""

    PAIRS = "pairs"
    SINGLE = "single"


Study = Annotated[str, typer.Option(help="Name of the study; made if there is none.", show_default=False)]
Version = Annotated[str, typer.Option(help="The model that drew the synthetic ones.", show_default=False)]
Slides = "slides: files, folders, or patterns in quotes; may be repeated."
RealSlides = Annotated[list[Path], typer.Option(help=f"Real {Slides}", show_default=False)]
SyntheticSlides = Annotated[list[Path], typer.Option(help=f"Synthetic {Slides}", show_default=False)]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the pictures that readers see, pixels.", show_default="that of the study"),
]
KindOfStudy = Annotated[
    Kind | None, typer.Option(help="Of a new study: pairs, or single images.", show_default="pairs")
]
Title = Annotated[str, typer.Option(help="Of a new study.", show_default="its name")]
Question = Annotated[
    str, typer.Option(help="Of a new study: what readers are asked.", show_default="which one is real")
]
Seed = Annotated[int | None, typer.Option(help="Of a new study: what is drawn at random.", show_default="a random one")]
Mpp = Annotated[
    float | None,
    typer.Option(help="Micrometres a pixel of slides whose files do not say.", show_default="such are refused"),
]


@app.command("import")
def import_(
    folder: Folder,
    study: Study,
    real: Annotated[Path, typer.Option(help="Folder of real images.", show_default=False)],
    synthetic: Annotated[Path, typer.Option(help="Folder of synthetic images.", show_default=False)],
    version: Version,
    size: Size = None,
    min_tissue: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of tissue: mostly white images are left out.")
    ] = 0.0,
    kind: KindOfStudy = None,
    title: Title = "",
    question: Question = "",
    seed: Seed = None,
) -> None:
    """Import the images of two folders into a study, blinded: one size, one encoder, no metadata.

    Run it once for each version of a model, with the same real images or others. What is there already stays; stopped,
    it goes on with the same command.

    Example: **study-app import reading --study tiles --real real/ --synthetic drawn/ --version 2026-05 --size 512**
    """
    from study_app.images.importing import ImportRequest
    from study_app.importing import run_import

    request = ImportRequest(study, real, synthetic, version, min_tissue)
    run_import(load_settings(folder), request, _options(size, kind, title, question, seed))


@app.command()
def import_crops(
    folder: Folder,
    study: Study,
    real: RealSlides,
    synthetic: SyntheticSlides,
    version: Version,
    size: Size = None,
    count: Annotated[int, typer.Option(min=1, help="Pairs of crops.")] = 50,
    min_tissue: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of tissue in a crop: mostly white ones are left out.")
    ] = 0.25,
    mpp: Mpp = None,
    kind: KindOfStudy = None,
    title: Title = "",
    question: Question = "",
    seed: Seed = None,
) -> None:
    """Import random crops of slides at several scales; crops of the same scale are shown together.

    The crops are those of a plan that is kept with the study: the same command finds them again.

    Example: **study-app import-crops reading --study crops --real slides/ --synthetic drawn.tiff
    --version 2026-05 --size 512**
    """
    from study_app.images.crops import CropRequest
    from study_app.importing import run_crops

    request = CropRequest(study, _sources(real, synthetic, version, mpp), count, min_tissue)
    run_crops(load_settings(folder), request, _options(size, kind, title, question, seed))


@app.command()
def import_slides(
    folder: Folder,
    study: Study,
    real: RealSlides,
    synthetic: SyntheticSlides,
    version: Version,
    field: Annotated[
        float | None,
        typer.Option(
            min=1, help="Side of what readers see of each slide, micrometres.", show_default="what all slides have"
        ),
    ] = None,
    mpp: Mpp = None,
    title: Title = "",
    question: Question = "",
    seed: Seed = None,
) -> None:
    """Import whole slides, which readers see side by side and zoom into.

    Of each slide the square with the most tissue is shown: all have one size, one scale, and tiles that are encoded
    alike.

    Example: **study-app import-slides reading --study slides --real slides/ --synthetic drawn.tiff --version 2026-05**
    """
    from study_app.database import StudyKind
    from study_app.images.slides import SlideRequest
    from study_app.importing import run_slides

    request = SlideRequest(study, _sources(real, synthetic, version, mpp), field)
    run_slides(load_settings(folder), request, _options(None, StudyKind.SLIDES, title, question, seed))


def _sources(real: list[Path], synthetic: list[Path], version: str, mpp: float | None) -> "SlideSources":
    from study_app.images.scaled import SlideSources
    from wsi_tiling import slide_files

    return SlideSources(tuple(slide_files(real)), tuple(slide_files(synthetic)), version, mpp)


def _options(size: int | None, kind: str | None, title: str, question: str, seed: int | None) -> "StudyOptions":
    from study_app.database import StudyKind
    from study_app.importing import StudyOptions

    return StudyOptions(size, StudyKind(kind) if kind else None, title or None, question or None, seed)
