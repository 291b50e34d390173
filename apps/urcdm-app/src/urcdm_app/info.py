"""`urcdm-app info`: what a model or a slide is."""

from pathlib import Path

from rich.table import Table

from urcdm import Urcdm
from urcdm_app.console import console, say
from wsi_tiling import open_slide


def run_info(path: Path) -> None:
    """Prints what a model folder or a slide is."""
    if path.is_dir() and (path / "model.toml").exists():
        _model(path)
    else:
        _slide(path)


def _model(path: Path) -> None:
    model = Urcdm.load(path)
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
    for name, value in model.provenance.items():
        say(f"{name}: {value}")


def _slide(path: Path) -> None:
    with open_slide(path) as slide:
        mpp = f"{slide.mpp:g} um a pixel" if slide.mpp is not None else "scale unknown"
        say(f"slide {path.name}: {slide.size_l0[0]} x {slide.size_l0[1]} px, {mpp}")
        say(f"levels: {', '.join(f'{width} x {height}' for width, height in slide.levels)}")
        say(f"background: RGB {slide.background}")
