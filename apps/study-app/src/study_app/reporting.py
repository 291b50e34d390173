"""The results of a study, in words and tables."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from study_stats import (
    Classifications,
    SingleClassifications,
    StudyError,
    agreement,
    cluster_bootstrap,
    drift,
    equivalence,
    images_found_out,
    realism,
    response_times,
)


@dataclass(frozen=True)
class Section:
    """One result.

    Attributes:
        version: Of the model that it is about.
        title: The question that it answers.
        result: A result of `study_stats`, which prints well, or None.
        text: The result as text, or why there is none.
    """

    version: str
    title: str
    result: Any
    text: str


def report_sections(
    answers: Classifications | SingleClassifications, *, margin: float, rng: np.random.Generator
) -> Iterator[Section]:
    """Yields the results for each version of the model, as far as the answers suffice.

    Args:
        answers: Those of a study.
        margin: Of the test of equivalence: the largest |p - 0.5| that counts as none.
        rng: Where resamples come from.

    Raises:
        StudyError: There are no answers.
    """
    if not len(answers):
        raise StudyError("there are no answers yet")
    questions: dict[str, Callable[[Any], Any]] = {
        "How realistic are they?": realism,
        "Is it as good as guessing?": lambda found: equivalence(found, margin=margin),
        "And for other readers and images?": lambda found: cluster_bootstrap(found, rng=rng),
        "Do readers see through the same ones?": lambda found: agreement(found, rng=rng),
        "Which images give themselves away?": images_found_out,
        "Do readers learn, or tire?": drift,
        "How long does it take them?": response_times,
    }
    for version in answers.versions:
        of_version = answers.of_version(version)
        for title, ask in questions.items():
            try:
                result = ask(of_version)
            except StudyError as error:
                yield Section(version, title, None, f"Not to be said yet: {error}.")
            else:
                yield Section(version, title, result, str(result))
