"""Results of study-stats on a study's answers, each with the reason if it is missing."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from study_stats import (
    Classifications,
    SingleClassifications,
    StudyError,
    agreement,
    cluster_bootstrap,
    compare_versions,
    discrimination,
    drift,
    equivalence,
    mixed_model,
    realism,
    recognised_images,
    response_times,
)

AnyAnswers: TypeAlias = Classifications | SingleClassifications
QUESTIONS = {
    "realism": "How realistic are they?",
    "discrimination": "How realistic are they?",
    "equivalence": "Is it as good as guessing?",
    "pooled": "And for other readers and images?",
    "mixed": "How much do readers and images differ?",
    "agreement": "Do readers see through the same ones?",
    "recognised": "Which images give themselves away?",
    "versions": "Is one version more realistic?",
    "drift": "Do readers learn, or tire?",
    "times": "How long does it take them?",
}
"""The question that each result answers."""
QUICK = ("realism", "discrimination", "recognised", "versions", "drift", "times")
"""Results without resampling or models, for display while a study runs."""


@dataclass(frozen=True)
class Finding:
    """One result.

    Attributes:
        name: One of `QUESTIONS`.
        result: Result of `study_stats`, which prints as text; None if there are too few answers.
        missing: Reason why the result is missing; empty otherwise.
    """

    name: str
    result: Any
    missing: str = ""

    @property
    def title(self) -> str:
        """The question that the result answers."""
        return QUESTIONS[self.name]

    @property
    def text(self) -> str:
        """The result as text, or the reason why it is missing."""
        return f"Not possible yet: {self.missing}." if self.missing else str(self.result)


@dataclass(frozen=True)
class Findings:
    """The results on the answers of a study.

    Attributes:
        answers: The answers.
        versions: Results by name for each version of the model, in alphabetical order. Answers on the images of one
            version do not count for another.
        whole: Results by name for all answers together.
    """

    answers: AnyAnswers
    versions: dict[str, dict[str, Finding]]
    whole: dict[str, Finding]

    def __iter__(self) -> Iterator[tuple[str, Finding]]:
        """Yields all results with their versions; results on all answers come last, with an empty version."""
        for version, findings in self.versions.items():
            yield from ((version, finding) for finding in findings.values())
        yield from (("", finding) for finding in self.whole.values())


def study_findings(
    answers: AnyAnswers,
    versions: Sequence[str],
    *,
    margin: float,
    seed: int = 0,
    names: Collection[str] = tuple(QUESTIONS),
) -> Findings:
    """Computes the results on the answers of a study, as far as there are enough answers.

    Response times are measured between consecutive answers on any version, so they are not computed by version.

    Args:
        answers: The answers.
        versions: The versions of the model whose images the study shows.
        margin: Margin of the test of equivalence: the largest |p - 0.5| that counts as guessing.
        seed: Seed of the resampling; each result has its own random generator.
        names: Names of the results to compute, from `QUESTIONS`.
    """
    single = isinstance(answers, SingleClassifications)
    rngs = {name: np.random.default_rng([number, seed]) for number, name in enumerate(QUESTIONS)}
    of_version: dict[str, Callable[[Any], Any]] = {
        **({"discrimination": discrimination} if single else {"realism": realism}),
        "equivalence": lambda answers: equivalence(answers, margin=margin),
        "pooled": lambda answers: cluster_bootstrap(answers, rng=rngs["pooled"]),
        **({} if single else {"mixed": mixed_model}),
        "agreement": lambda answers: agreement(answers, rng=rngs["agreement"]),
        "recognised": recognised_images,
    }
    of_study: dict[str, Callable[[Any], Any]] = {
        **({"versions": compare_versions} if len(versions) > 1 else {}),
        "drift": drift,
        "times": response_times,
    }

    def findings_of(analyses: dict[str, Callable[[Any], Any]], answers: AnyAnswers) -> dict[str, Finding]:
        return {name: _finding(name, analyse, answers) for name, analyse in analyses.items() if name in names}

    by_version = {}
    for version in sorted(versions):
        try:
            by_version[version] = findings_of(of_version, answers.of_version(version))
        except StudyError as error:
            by_version[version] = {name: Finding(name, None, str(error)) for name in of_version if name in names}
    return Findings(answers, by_version, findings_of(of_study, answers))


def _finding(name: str, analyse: Callable[[Any], Any], answers: AnyAnswers) -> Finding:
    try:
        return Finding(name, analyse(answers))
    except StudyError as error:
        return Finding(name, None, str(error))
