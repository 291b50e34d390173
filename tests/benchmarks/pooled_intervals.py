"""How often 95 % intervals of the pooled p of a reader study hold the true one.

    uv run python tests/benchmarks/pooled_intervals.py

Studies of five readers and 60 images, each reader answering 20 to 100 % of them; log-odds of an incorrect answer are
0.2, with a standard deviation of 0.7 between readers and 0.5 between images. For the mixed model there is also
statsmodels' own interval, by variational Bayes.
"""

import argparse
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from scipy.special import expit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from study_stats import Classifications, cluster_bootstrap, mixed_model

READERS, IMAGES, LOG_ODDS, READER_SD, IMAGE_SD = 5, 60, 0.2, 0.7, 0.5
START = datetime(2026, 5, 4, 9, tzinfo=UTC)


def average(log_odds: float, spread: float) -> float:
    """Average share over normal log-odds, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    return float(weights @ expit(log_odds + spread * nodes) / weights.sum())


def study(rng: np.random.Generator) -> Classifications:
    """Draws one study."""
    effects = rng.normal(0, READER_SD, (READERS, 1)) + rng.normal(0, IMAGE_SD, IMAGES)
    answered = rng.random((READERS, IMAGES)) < rng.uniform(0.2, 1, (READERS, 1))
    reader, image = np.nonzero(answered)
    shown = [START + timedelta(seconds=10 * number) for number in range(len(reader))]
    frame = pd.DataFrame({"reader": reader.astype(str), "session": reader.astype(str), "side": "left"})
    frame["real_image"], frame["synthetic_image"] = [[f"{kind}{number}" for number in image] for kind in "rs"]
    frame["time_shown"] = frame["time_answered"] = shown
    frame["correct"] = rng.random(len(reader)) > expit(LOG_ODDS + effects[reader, image])
    return Classifications(frame.assign(model_version="1"))


def variational(classifications: Classifications) -> tuple[float, float]:
    """The interval of statsmodels' variational Bayes."""
    frame = classifications.frame.assign(wrong=(~classifications.frame["correct"]).astype(float))
    effects = {"reader": "0 + C(reader)", "image": "0 + C(synthetic_image)"}
    fit = BinomialBayesMixedGLM.from_formula("wrong ~ 1", effects, frame).fit_vb()
    middle, reach, spread = fit.fe_mean[0], 1.96 * fit.fe_sd[0], float(np.hypot(*np.exp(fit.vcp_mean)))
    return average(middle - reach, spread), average(middle + reach, spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    count = parser.parse_args().studies
    rng = np.random.default_rng(0)
    truth = average(LOG_ODDS, float(np.hypot(READER_SD, IMAGE_SD)))
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(count):
        drawn = study(rng)
        found.setdefault("cluster_bootstrap", []).append(cluster_bootstrap(drawn, rng=rng, resamples=1000).interval)
        found.setdefault("mixed_model", []).append(mixed_model(drawn).interval)
        found.setdefault("variational Bayes", []).append(variational(drawn))
    print(f"{count} studies, true p {truth:.4f}")
    for name, intervals in found.items():
        low, high = np.array(intervals).T
        covered = np.mean((low <= truth) & (truth <= high))
        print(f"{name:18} covers {covered:.1%}, width {np.mean(high - low):.3f}")


if __name__ == "__main__":
    main()
