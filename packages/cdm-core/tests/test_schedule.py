import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cdm_core import Schedule
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.networks.imagen_offline import imagen_module

BOTH = pytest.mark.parametrize("name", ["cosine", "linear"])
PEERS = {"cosine": "alpha_cosine_log_snr", "linear": "beta_linear_log_snr"}
times = st.floats(0, 1)


@BOTH
def test_log_snr_is_the_peer_librarys(name: ScheduleName) -> None:
    t = torch.linspace(0, 1, 1001)
    peer = getattr(imagen_module(), PEERS[name])(t)
    torch.testing.assert_close(Schedule(name).log_snr(t), peer, rtol=1e-5, atol=1e-5)


@BOTH
def test_log_snr_falls_from_clean_to_noise(name: ScheduleName) -> None:
    log_snr = Schedule(name).log_snr(torch.linspace(0, 1, 1001))
    assert (log_snr.diff() < 0).all()
    assert log_snr[0] > 8
    assert log_snr[-1] < -9


@BOTH
@given(t=times)
@settings(deadline=None)
def test_the_process_preserves_variance(name: ScheduleName, t: float) -> None:
    alpha, sigma = Schedule(name).alpha_sigma(torch.tensor([t]))
    assert alpha.shape == sigma.shape == (1, 1, 1, 1)
    assert (alpha**2 + sigma**2).item() == pytest.approx(1, abs=1e-6)


@BOTH
@given(s=times, t=times)
@settings(deadline=None)
def test_renoising_adds_the_noise_that_the_forward_process_adds(name: ScheduleName, s: float, t: float) -> None:
    s, t = sorted((s, t))
    schedule, zero, one = Schedule(name), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    early, late = torch.tensor([s]).double(), torch.tensor([t]).double()
    kept = schedule.renoise(one, early, late, zero).item()
    added = schedule.renoise(zero, early, late, one).item()
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule.alpha_sigma(early), schedule.alpha_sigma(late)
    assert kept * alpha_s.item() == pytest.approx(alpha_t.item())
    assert (kept * sigma_s.item()) ** 2 + added**2 == pytest.approx(sigma_t.item() ** 2)


@BOTH
def test_renoising_keeps_a_sample_on_the_process(name: ScheduleName, noise: Callable[..., Tensor]) -> None:
    schedule, s, t = Schedule(name), torch.tensor([0.25]), torch.tensor([0.5])
    x0, first, second = noise(3, 1, 1, 200, 200)
    x_t = schedule.renoise(schedule.add_noise(x0, s, first), s, t, second)
    assert x_t.var().item() == pytest.approx(1, abs=0.03)  # 4 standard errors of the variance of 40,000 draws
    alpha_t = schedule.alpha_sigma(t)[0]
    assert (x_t * x0).mean().item() == pytest.approx(alpha_t.item(), abs=0.03)


def test_renoising_adds_more_than_the_peer_library_does(noise: Callable[..., Tensor]) -> None:
    s, t = torch.tensor([0.25]), torch.tensor([0.5])
    x_s, fresh = noise(2, 1, 1, 200, 200)
    peer = imagen_module().GaussianDiffusionContinuousTimes(noise_schedule="cosine")
    ancestor = peer.q_sample_from_to(x_s, s, t, noise=fresh)
    assert ancestor.std().item() == pytest.approx(0.87, abs=0.01)
    assert Schedule("cosine").renoise(x_s, s, t, fresh).std().item() == pytest.approx(1, abs=0.015)


def test_renoising_to_the_same_time_changes_nothing(noise: Callable[..., Tensor]) -> None:
    x, t = noise(2, 3, 4, 4), torch.tensor([0.1, 0.9])
    torch.testing.assert_close(Schedule().renoise(x, t, t, torch.ones_like(x)), x)


def test_each_image_has_its_own_time(noise: Callable[..., Tensor]) -> None:
    x0, fresh = noise(2, 2, 3, 4, 4)
    x_t = Schedule().add_noise(x0, torch.tensor([0.0, 1.0]), fresh)
    torch.testing.assert_close(x_t[0], x0[0], atol=0.06, rtol=0)
    torch.testing.assert_close(x_t[1], fresh[1], atol=1e-5, rtol=0)
    assert math.isfinite(x_t.sum())
