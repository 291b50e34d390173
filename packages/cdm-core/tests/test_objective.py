import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdm_core import Schedule
from cdm_core.objective import Objective, predicted_x0, training_target
from cdm_core.schedule import ScheduleName

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
