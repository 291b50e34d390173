"""Results of study-stats on a study's answers: each result, or why there is none yet."""

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
"""Of each result, the question that it answers."""
QUICK = ("realism", "discrimination", "recognised", "versions", "drift", "times")
"""Those that take no resamples and no model, while a study runs."""


@dataclass(frozen=True)
class Finding:
    """One result.

    Attributes:
        name: One of `QUESTIONS`.
        result: A result of `study_stats`, which prints well; None if the answers do not suffice.
        missing: Why there is none; empty if there is one.
    """

    name: str
    result: Any
    missing: str = ""

    @property
    def title(self) -> str:
        """The question that it answers."""
        return QUESTIONS[self.name]

    @property
    def text(self) -> str:
        """The result as text, or why there is none."""
        return f"Not possible yet: {self.missing}." if self.missing else str(self.result)


@dataclass(frozen=True)
class Findings:
    """The results on the answers of a study.

    Attributes:
        answers: The answers.
        versions: Results for each version of the model, in alphabetical order, by their names. What readers said of
            the images of one version says nothing of another's.
        whole: Results for all answers together, likewise.
    """

    answers: AnyAnswers
    versions: dict[str, dict[str, Finding]]
    whole: dict[str, Finding]

    def __iter__(self) -> Iterator[tuple[str, Finding]]:
        """All results, each with the version that it is of; those of all answers, with no version, come last."""
        for version, found in self.versions.items():
            yield from ((version, each) for each in found.values())
        yield from (("", each) for each in self.whole.values())


def study_findings(
    answers: AnyAnswers,
    versions: Sequence[str],
    *,
    margin: float,
    seed: int = 0,
    names: Collection[str] = tuple(QUESTIONS),
) -> Findings:
    """Works out what the answers of a study say, as far as they suffice.

    Times are those between consecutive answers, of whatever version, so they are never asked of one version alone.

    Args:
        answers: The answers.
        versions: The versions of the model whose images the study shows.
        margin: Of the test of equivalence: the largest |p - 0.5| that counts as guessing.
        seed: Resamples are drawn from it, for each result by itself.
        names: Which of the `QUESTIONS` are asked.
    """
    single = isinstance(answers, SingleClassifications)
    rngs = {name: np.random.default_rng([number, seed]) for number, name in enumerate(QUESTIONS)}
    of_version: dict[str, Callable[[Any], Any]] = {
        **({"discrimination": discrimination} if single else {"realism": realism}),
        "equivalence": lambda found: equivalence(found, margin=margin),
        "pooled": lambda found: cluster_bootstrap(found, rng=rngs["pooled"]),
        **({} if single else {"mixed": mixed_model}),
        "agreement": lambda found: agreement(found, rng=rngs["agreement"]),
        "recognised": recognised_images,
    }
    of_study: dict[str, Callable[[Any], Any]] = {
        **({"versions": compare_versions} if len(versions) > 1 else {}),
        "drift": drift,
        "times": response_times,
    }

    def asked_of(asks: dict[str, Callable[[Any], Any]], answers: AnyAnswers) -> dict[str, Finding]:
        return {name: _asked(name, ask, answers) for name, ask in asks.items() if name in names}

    by_version = {}
    for version in sorted(versions):
        try:
            by_version[version] = asked_of(of_version, answers.of_version(version))
        except StudyError as error:
            by_version[version] = {name: Finding(name, None, str(error)) for name in of_version if name in names}
    return Findings(answers, by_version, asked_of(of_study, answers))


def _asked(name: str, ask: Callable[[Any], Any], answers: AnyAnswers) -> Finding:
    try:
        return Finding(name, ask(answers))
    except StudyError as error:
        return Finding(name, None, str(error))
