"""Printing metrics, and progress bars of long work."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pfid import MetricValue, Work
from run_folder.cli.console import progress_bars, say

Result = TypeVar("Result")


def show_metrics(metrics: Sequence[MetricValue]) -> None:
    """Prints the values of one measurement: the first with its provenance, the others by name and value."""
    say(str(metrics[0]))
    for metric in metrics[1:]:
        say(f"{metric.name} {metric.value:.5g}")


def follow(work: Work[Result], titles: Mapping[str, str] | None = None) -> Result:
    """Does long work, shows a progress bar for each of its parts, and returns its result.

    Args:
        work: The work.
        titles: Titles of the parts, by the names in their events; a part without one goes by its name.
    """
    with progress_bars() as bars:
        tasks = {}
        for event in work:
            if event.work not in tasks:
                tasks[event.work] = bars.add_task((titles or {}).get(event.work, event.work))
            bars.update(tasks[event.work], completed=event.done, total=event.total)
    return work.result()
