"""What `urcdm-app tile` tells at the end: on the screen, and in files."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from urcdm import TrainingPlan
from urcdm_app.console import console
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
    """Writes the numbers and what was set aside: `summary.json`, and `set-aside.csv` if there is something in it."""
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
    (out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (out / SET_ASIDE).unlink(missing_ok=True)
    if set_aside:
        with (out / SET_ASIDE).open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["slide", "path", "trouble", "reason"])
            lines.writerows([event.path.stem, event.path, event.trouble, event.reason] for event in set_aside)


def counted(set_aside: list[SlideSetAside]) -> str:
    """How many slides there are of each kind of trouble, as in '2 unreadable, 1 another scale'."""
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
