"""`urcdm-app info`: what a model or a slide is."""

import zipfile
from pathlib import Path

from rich.table import Table

from cdm_core import fetch_model
from cdm_core.model_folder import MODEL_FILE
from run_folder.cli.console import console, say
from urcdm import Urcdm
from wsi_tiling import SLIDE_SUFFIXES, open_slide


def run_info(source: str) -> None:
    """Prints what a model or a slide is.

    Args:
        source: A slide, or a model as of `cdm_core.fetch_model`.
    """
    path = Path(source)
    is_slide = path.is_file() and not zipfile.is_zipfile(path)
    is_folder_of_slide = path.is_dir() and not (path / MODEL_FILE).exists()
    # the name of a slide that is not there may tell of a patient, so it is not asked for on Hugging Face
    if is_slide or is_folder_of_slide or path.suffix.lower() in SLIDE_SUFFIXES:
        _slide(path)
    else:
        _model(source)


def _model(source: str) -> None:
    path, folder = Path(source), fetch_model(source)
    model = Urcdm.load(folder)
    config = model.config
    console.print(
        f"model {path.name}: {config.mpp:g} um a level-0 pixel, overlap {config.overlap:g}, {config.context} context"
    )
    table = Table("level", "field, level-0 px", "um a pixel", "network", "parameters", "sampling")
    for level, cascade in zip(config.levels, model.cascades, strict=True):
        for stage, unet in zip(cascade.config.stages, cascade.unets, strict=True):
            enlarges = f"{stage.lowres_px} to " if stage.lowres_px else ""
            table.add_row(
                level.name,
                f"{level.field_l0:g}",
                f"{config.mpp * level.scale:.3f}",
                f"{enlarges}{stage.image_px} px, {stage.objective}",
                f"{sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M",
                f"{stage.sampling.method}, {stage.sampling.steps} steps",
            )
    console.print(table)
    say(f"source: {source}" if path.exists() else f"source: {source} on Hugging Face, in {folder}")
    for name, value in model.provenance.items():
        say(f"{name}: {value}")


def _slide(path: Path) -> None:
    with open_slide(path) as slide:
        mpp = f"{slide.mpp:g} um a pixel" if slide.mpp is not None else "scale unknown"
        say(f"slide {path.name}: {slide.size_l0[0]} x {slide.size_l0[1]} px, {mpp}")
        say(f"levels: {', '.join(f'{width} x {height}' for width, height in slide.levels)}")
        say(f"background: RGB {slide.background}")
