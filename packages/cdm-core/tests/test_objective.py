import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdm_core import Schedule
from cdm_core.diffusion.objective import LossWeight, Objective, loss_weight, predicted_x0, training_target
from cdm_core.diffusion.schedule import ScheduleName

OBJECTIVES = pytest.mark.parametrize("objective", ["noise", "v", "x0"])


@OBJECTIVES
@pytest.mark.parametrize("name", ["cosine", "linear"])
@given(t=st.lists(st.floats(0, 0.999), min_size=1, max_size=3), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_a_perfect_prediction_gives_the_image(
    objective: Objective, name: ScheduleName, t: list[float], seed: int
) -> None:
    schedule, times = Schedule(name), torch.tensor(t, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn((2, len(t), 3, 2, 2), generator=generator, dtype=torch.float64)
    target = training_target(objective, schedule, x0, noise, times)
    found = predicted_x0(objective, schedule, target, schedule.add_noise(x0, times, noise), times)
    torch.testing.assert_close(found, x0, rtol=1e-7, atol=1e-7)


def test_v_is_noise_when_clean_and_the_negative_image_when_noisy() -> None:
    x0, noise = torch.full((2, 3, 2, 2), 0.5), torch.full((2, 3, 2, 2), 2.0)
    v = training_target("v", Schedule(), x0, noise, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(v[0], noise[0], atol=0.02, rtol=0)
    torch.testing.assert_close(v[1], -x0[1], atol=0.02, rtol=0)


@OBJECTIVES
def test_pure_noise_gives_a_finite_image(objective: Objective) -> None:
    x_t = torch.ones(1, 3, 2, 2)
    assert torch.isfinite(predicted_x0(objective, Schedule(), x_t * 0.9, x_t, torch.ones(1))).all()


def literal_weight(weight: LossWeight, objective: Objective, snr: float) -> float:
    """The papers' formulas, for one number."""
    if weight == "none":
        return 1.0
    if weight == "p2":
        return 1 / math.sqrt(1 + snr)
    of_image = min(snr, 5) if weight == "min_snr" else max(snr, 1)
    return {"noise": of_image / snr, "v": of_image / (snr + 1), "x0": of_image}[objective]


@OBJECTIVES
@pytest.mark.parametrize("weight", get_args(LossWeight))
@given(log_snr=st.lists(st.floats(-33, 12), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_loss_weights_are_the_papers(weight: LossWeight, objective: Objective, log_snr: list[float]) -> None:
    found = loss_weight(weight, objective, torch.tensor(log_snr, dtype=torch.float64))
    wanted = [literal_weight(weight, objective, math.exp(value)) for value in log_snr]
    assert found.tolist() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("weight_name", "of_image"), [("min_snr", lambda snr: min(snr, 5)), ("truncated_snr", lambda snr: max(snr, 1))]
)
@pytest.mark.parametrize("name", ["cosine", "linear"])
@given(t=st.floats(0, 0.99), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_the_same_error_of_the_image_is_weighed_alike_for_every_objective(
    weight_name: LossWeight, of_image: Callable[[float], float], name: ScheduleName, t: float, seed: int
) -> None:
    schedule, times = Schedule(name), torch.tensor([t], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    x0, noise, off = torch.randn((3, 1, 3, 2, 2), generator=generator, dtype=torch.float64)
    x_t, (alpha, sigma) = schedule.add_noise(x0, times, noise), schedule.alpha_sigma(times)
    guess = x0 + off  # which each objective tells in its own way, for the same x_t
    guessed_noise = (x_t - alpha * guess) / sigma
    losses = []
    for objective in get_args(Objective):
        target = training_target(objective, schedule, x0, noise, times)
        prediction = training_target(objective, schedule, guess, guessed_noise, times)
        weight = loss_weight(weight_name, objective, schedule.log_snr(times))
        losses.append((weight * (prediction - target).square().mean()).item())
    snr = schedule.log_snr(times).exp().item()
    assert losses == pytest.approx([of_image(snr) * off.square().mean().item()] * 3, rel=1e-6)


@OBJECTIVES
@pytest.mark.parametrize("weight", get_args(LossWeight))
@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_weights_are_finite_at_both_ends_of_the_process(
    weight: LossWeight, objective: Objective, name: ScheduleName
) -> None:
    weights = loss_weight(weight, objective, Schedule(name).log_snr(torch.tensor([0.0, 1.0])))
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
