"""Results whose values may be compared, in tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pfid.errors import MetricError
from pfid.metric_value import MetricValue
from pfid.results.result import Result, ResultKind


@dataclass(frozen=True)
class ResultTable:
    """Results whose values mean the same and may be compared.

    Attributes:
        kind: The kind of measurement.
        results: The results, in the order given.
        apart: Why they are not in the first table of their kind; None for that one.
    """

    kind: ResultKind
    results: list[Result]
    apart: str | None

    @property
    def columns(self) -> list[str]:
        """Names of the metrics."""
        return list(dict.fromkeys(metric.name for result in self.results for metric in result.metrics))

    def value(self, result: Result, name: str) -> MetricValue | None:
        """The value of a metric in a result; None if it has none of that name."""
        return next((metric for metric in result.metrics if metric.name == name), None)

    @property
    def counts_differ(self) -> bool:
        """Whether the results are of different numbers of images or crops."""
        return len({(result.metrics[0].n_real, result.metrics[0].n_fake) for result in self.results}) > 1


def comparable_tables(results: Sequence[Result]) -> list[ResultTable]:
    """Groups comparable results into tables, ordered by kind, with the reason for each further table of a kind."""
    tables: list[ResultTable] = []
    for result in results:
        of_kind = [table for table in tables if table.kind == result.kind]
        reasons = [_difference(table.results[0], result) for table in of_kind]
        if None in reasons:
            of_kind[reasons.index(None)].results.append(result)
        else:
            tables.append(ResultTable(result.kind, [result], reasons[0] if reasons else None))
    return sorted(tables, key=lambda table: get_args(ResultKind).index(table.kind))


def _difference(first: Result, other: Result) -> str | None:
    """The reason why two results cannot be compared; None if they can."""
    names = {metric.name: metric for metric in first.metrics}
    try:
        for metric in other.metrics:
            if metric.name in names:
                names[metric.name].check_comparable(metric)
        if not names.keys() & {metric.name for metric in other.metrics}:
            first.metrics[0].check_comparable(other.metrics[0])
    except MetricError as error:
        return str(error)
    if first.real.sha256 != other.real.sha256:
        return (
            "metric values against different real images cannot be compared: "
            f"{', '.join(first.real.places)} and {', '.join(other.real.places)}"
        )
    return None
