"""The report of `urcdm-app tile`: on the screen, and in files."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from run_folder import whole_file
from run_folder.cli.console import console
from urcdm import TrainingPlan
from wsi_tiling import SlideSetAside, TileTable

SUMMARY = "summary.json"
SET_ASIDE = "set-aside.csv"


def report(table: TileTable, plan: TrainingPlan) -> None:
    """Prints the numbers of tiles by level and, if there are several, by split."""
    splits = list(table.frame["split"].unique())
    shown = Table("level", "field, level-0 px", "tiles", *(splits if len(splits) > 1 else []), "mean tissue")
    for level in plan.urcdm.levels:
        rows = table.frame[table.frame["field_l0"] == level.field_l0]
        counts = [str((rows["split"] == split).sum()) for split in splits] if len(splits) > 1 else []
        tissue = f"{rows['tissue'].mean():.0%}"
        shown.add_row(level.name, f"{level.field_l0:g}", str(len(rows)), *counts, tissue)
    console.print(shown)


def save_report(
    out: Path, table: TileTable, plan: TrainingPlan, slides: list[Path], set_aside: list[SlideSetAside]
) -> None:
    """Writes the numbers and the slides that were set aside: `summary.json` and, if there are any, `set-aside.csv`."""
    frame = table.frame
    finest = frame[frame["field_l0"] == plan.urcdm.levels[-1].field_l0]
    bad = {event.path for event in set_aside}
    with_tissue = set(finest["slide"])
    summary: dict[str, Any] = {
        "slides": len(slides),
        "tiled": len(slides) - len(set_aside),
        "without_tissue": [path.stem for path in slides if path not in bad and path.stem not in with_tissue],
        "levels": [
            {
                "name": level.name,
                "field_l0": level.field_l0,
                "tiles": len(rows),
                "mean_tissue": round(float(rows["tissue"].mean()), 4),
                "by_split": {str(split): len(part) for split, part in rows.groupby("split")},
            }
            for level in plan.urcdm.levels
            for rows in [frame[frame["field_l0"] == level.field_l0]]
        ],
        "splits": {
            str(split): {
                "patients": int(rows["patient"].nunique()),
                "slides": int(rows["slide"].nunique()),
                "tiles": len(rows),
            }
            for split, rows in frame.groupby("split")
        },
        "set_aside": [_described(event) for event in set_aside],
    }
    _write(out / SUMMARY, json.dumps(summary, indent=2) + "\n")
    (out / SET_ASIDE).unlink(missing_ok=True)
    if set_aside:
        stream = io.StringIO(newline="")
        lines = csv.writer(stream)
        lines.writerow(["slide", "path", "trouble", "reason"])
        lines.writerows([event.path.stem, event.path, event.trouble, event.reason] for event in set_aside)
        _write(out / SET_ASIDE, stream.getvalue())


def one_line(text: str) -> str:
    """Makes one printable line of a text that names files, whatever letters and line ends the names have."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


def _write(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def counted(set_aside: list[SlideSetAside]) -> str:
    """The number of slides with each kind of trouble, as in '2 unreadable, 1 another scale'."""
    counts = Counter(event.trouble for event in set_aside)
    return ", ".join(f"{count} {trouble}" for trouble, count in counts.most_common())


def _described(event: SlideSetAside) -> dict[str, str]:
    described = {
        "slide": event.path.stem,
        "path": str(event.path),
        "trouble": event.trouble,
        "reason": event.reason,
    }
    return described | ({"trace": event.trace} if event.trace else {})
