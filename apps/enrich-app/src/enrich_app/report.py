"""`enrich-app report`: a page of a run in a single file."""

import json
from dataclasses import dataclass
from pathlib import Path

from enrich_app.report_pictures import (
    drawn_masks_picture,
    file_source,
    predictions_picture,
    real_pairs_picture,
    sampled_pairs_picture,
)
from enrich_app.report_plot import plot_strategies
from enrich_app.table_text import NAMES
from maskcond import ClassSet, MaskCascade, read_image
from maskcond.enrichment import STRATEGIES, EnrichmentConfig, config_text, read_enrichment_config
from maskcond.enrichment.enrichment_run import CONFIG_FILE
from maskcond.enrichment.pairs.filtering import Filtered, Reason
from maskcond.enrichment.pairs.synthetic_pairs import (
    AGREEMENT_FILE,
    DRAWN_DROPPED_FILE,
    DRAWN_FILE,
    DROPPED_FILE,
    PAIRS_FILE,
    PROVENANCE_FILE,
)
from maskcond.enrichment.real_images import open_real_images
from maskcond.enrichment.run_paths import AGREEMENT, FILTERED_PAIRS, SAMPLED_IMAGES, SYNTHETIC_PAIRS, TABLE
from maskcond.enrichment.steps.record import StepRecord
from maskcond.enrichment.strategies.strategy_steps import TABLE_FILE
from maskcond.enrichment.strategies.strategy_table import read_table
from run_folder import FolderLock, UsageError, refuse_existing, whole_file
from run_folder.cli.console import say
from run_folder.cli.pages import render_page


@dataclass(frozen=True)
class StepTime:
    """Units, time and disk space of a step of the run."""

    name: str
    units: int
    seconds: float
    bytes: int


def run_report(*, folder: Path, out: Path, overwrite: bool) -> None:
    """Writes the page; see `enrich_app.cli.report` for the arguments.

    Raises:
        UsageError: The page exists already, or the run is not done.
        LockedError: Another process writes the page.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: wanted a name that ends in .html")
    with FolderLock(out, beside=True):
        refuse_existing([out], overwrite=overwrite)
        write_report(folder, out)
    say(str(out))


def write_report(folder: Path, out: Path) -> None:
    """Writes the page of a run.

    Raises:
        UsageError: The run is not done.
        MaskcondError: The real images are missing or cannot be read.
    """
    if not (folder / CONFIG_FILE).exists():
        raise UsageError(f"{folder}: no run of enrich-app, it has no {CONFIG_FILE}")
    if not (folder / TABLE / TABLE_FILE).exists():
        raise UsageError(
            f"{folder}: the run is not done; continue with: enrich-app run {folder / CONFIG_FILE} --out {folder}"
        )
    config = read_enrichment_config(folder / CONFIG_FILE)
    rows, confidence = read_table(folder / TABLE / TABLE_FILE)
    filtered = Filtered.load(folder / FILTERED_PAIRS / PAIRS_FILE)
    drawn = Filtered.load(folder / FILTERED_PAIRS / DRAWN_FILE) if config.sampling.drawn_masks else None
    provenance = json.loads((folder / SYNTHETIC_PAIRS / PROVENANCE_FILE).read_text(encoding="utf-8"))
    real = open_real_images(config.data, _classes(config), seed=config.sampling.seed)
    side_px = len(read_image(next((folder / SAMPLED_IMAGES / "images").glob("*.png"))))
    strategies = list(config.segmentation.strategies)
    values = {
        "run": folder.resolve().name,
        "rows": rows,
        "names": NAMES,
        "strategies": strategies,
        "about": STRATEGIES,
        "confidence": confidence,
        "config": config,
        "config_text": config_text(config),
        "training": sorted(image.name for image in real.of("train")),
        "unannotated": len(real.unannotated or ()),
        "tests": {split: len(real.of(split)) for split in real.splits},
        "filtered": filtered,
        "drawn": drawn,
        "reasons": _reasons,
        "compared": None if config.filter.agreement is None else _compared_images(folder),
        "masks": len({pair["mask"] for pair in provenance["pairs"]}),
        "pairs": len(provenance["pairs"]),
        "models": provenance["models"],
        "steps": _steps(folder),
        "plot": plot_strategies(rows),
        "real_picture": real_pairs_picture(real, config.data.scale, side_px),
        "sampled_picture": sampled_pairs_picture(folder, config, filtered.kept),
        "drawn_picture": drawn_masks_picture(folder, config, drawn),
        "dropped_picture": file_source(folder / FILTERED_PAIRS / DROPPED_FILE),
        "drawn_dropped_picture": file_source(folder / FILTERED_PAIRS / DRAWN_DROPPED_FILE) if drawn else None,
        "predictions_picture": predictions_picture(folder, real, config.data.scale, strategies),
    }
    page = render_page("enrich_app", "report.html", values)
    with whole_file(out) as partial:
        partial.write_text(page, encoding="utf-8")


def _classes(config: EnrichmentConfig) -> ClassSet:
    """Classes of the masks that the mask-conditioned cascade takes."""
    if config.mask_cascade.plan is not None:
        return config.mask_cascade.plan.input.codec.classes
    if config.mask_cascade.folder is None:
        raise UsageError("mask_cascade: wanted a folder or a plan")
    return MaskCascade.load(config.mask_cascade.folder).codec.classes


def _reasons(filtered: Filtered) -> list[tuple[str, str]]:
    """All reasons of the filter for dropping a sample, with their limits in words."""
    limits = filtered.limits
    copy = "none" if limits.copy is None else f"{limits.copy:.2f} grey levels"
    texts = {
        Reason.EMPTY: "",
        Reason.FOREGROUND: "{:.1%} to {:.1%}".format(*limits.foreground),
        Reason.SIZE: "" if limits.size_px is None else "median {:.0f} to {:.0f} px".format(*limits.size_px),
        Reason.COPY: copy,
        Reason.LOOKS: ", ".join(
            f"{name} {low:.0f} to {high:.0f}"
            for name, (low, high) in zip(("red", "green", "blue", "sharpness"), limits.looks or (), strict=False)
        ),
        Reason.DUPLICATE: copy,
    }
    return [(reason.value, text) for reason, text in texts.items() if reason is not Reason.LOOKS or limits.looks]


def _compared_images(folder: Path) -> int:
    """Number of images of the mask-conditioned cascade whose masks were compared with predicted ones."""
    return len(json.loads((folder / AGREEMENT / AGREEMENT_FILE).read_text(encoding="utf-8"))["dice"])


def _steps(folder: Path) -> list[StepTime]:
    """The steps that led to the table, each after those that it reads, with their times."""
    times: dict[str, StepTime] = {}

    def add(name: str) -> None:
        record = StepRecord.load(folder / name)
        if record is not None and name not in times:
            for read in record.reads:
                add(read)
            times[name] = StepTime(name, record.units, record.seconds, record.bytes)

    add(TABLE)
    return list(times.values())
