"""The sampler against the schedulers of diffusers, with the same network and the same noise.

Those work on tables of discrete times: here the tables hold our schedule at our times. At time 0 our sampler returns
the posterior's mean, whatever the method: there it is compared with diffusers' DDIM of eta 1 with noise of 0.
"""

import warnings
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Denoiser, StageConfig, UnetConfig, build_unet, draw_noise, sample
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.diffusion.solver import Method, sampling_times

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what is deprecated inside diffusers is not ours to mend
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

STEPS = 8
CPU = torch.device("cpu")

BOTH_SCHEDULES = pytest.mark.parametrize("name", get_args(ScheduleName))
UNTIL = pytest.mark.parametrize("until", [0.0, 0.2])


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """A network this small only loses time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    """A small network that predicts something: a fresh one starts with zeros in its last convolution."""
    config = UnetConfig(
        dim=8,
        dim_mults=(1,),
        layer_attns=False,
        layer_cross_attns=False,
        attend_at_middle=False,
        init_cross_embed=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_unet(StageConfig(8, config))
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    return network.eval().requires_grad_(False)


@pytest.fixture
def denoiser(unet: nn.Module, name: ScheduleName) -> Denoiser:
    """It, as the denoiser of a stage that predicts v."""
    return Denoiser(unet, StageConfig(8, UnetConfig(dim=8), schedule=name))


def times(until: float) -> Tensor:
    """From noise to image."""
    return torch.linspace(1.0, until, STEPS + 1)


def alphas_squared(denoiser: Denoiser, t: Tensor) -> Tensor:
    """What diffusers calls `alphas_cumprod`; in double precision, for it takes the sigmas as 1 minus these."""
    return torch.sigmoid(denoiser.schedule.log_snr(t).double())


def ddim_step(denoiser: Denoiser, at: Tensor, i: int, x: Tensor, x0: Tensor, **options: Any) -> Tensor:
    """The step of diffusers' DDIM from the i-th of the times `at` to the one after it."""
    scheduler = DDIMScheduler(len(at) - 1, prediction_type="sample", clip_sample=False)
    scheduler.set_timesteps(len(at) - 1)
    clean_first = alphas_squared(denoiser, at).flip(0)
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = clean_first[1:], clean_first[0]
    step: Tensor = scheduler.step(x0, int(scheduler.timesteps[i]), x, **options).prev_sample
    return step


def to_image(denoiser: Denoiser, at: Tensor, x: Tensor) -> Tensor:
    """The last step, to time 0, which is the posterior's mean."""
    x0 = denoiser(x, at[-2].expand(len(x)))
    return ddim_step(denoiser, at, len(at) - 2, x, x0, eta=1.0, variance_noise=torch.zeros_like(x))


def sigmas(denoiser: Denoiser, t: Tensor) -> Tensor:
    """Noise over signal, which diffusers' DPM-Solvers go by."""
    return (-denoiser.schedule.log_snr(t).double() / 2).exp()


def ours(denoiser: Denoiser, start: Tensor, until: float, method: Method, **options: Any) -> Tensor:
    return sample(
        denoiser, start, schedule=denoiser.schedule, times=sampling_times(STEPS, until=until), method=method, **options
    )


def start_noise() -> tuple[Tensor, list[torch.Generator]]:
    """The first noise of two images, and the generators that it came from."""
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    return draw_noise((3, 8, 8), generators, CPU), generators


def assert_agrees(found: Tensor, wanted: Tensor) -> None:
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@BOTH_SCHEDULES
@UNTIL
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_ddim_agrees(denoiser: Denoiser, until: float, eta: float) -> None:
    x, generators = start_noise()
    at = times(until)
    for i in range(STEPS - (until == 0)):
        fresh = {"variance_noise": draw_noise((3, 8, 8), generators, CPU)} if eta else {}
        x = ddim_step(denoiser, at, i, x, denoiser(x, at[i].expand(2)), eta=eta, **fresh)
    if until == 0:
        x = to_image(denoiser, at, x)
    start, generators = start_noise()
    found = ours(denoiser, start, until, "ddim", eta=eta, generators=generators)
    assert_agrees(found, x)
    if eta == 1:
        start, generators = start_noise()
        assert_agrees(ours(denoiser, start, until, "ddpm", generators=generators), x)
    else:
        start, generators = start_noise()
        other = ours(denoiser, start, until, "ddim", eta=eta + 0.3, generators=generators)
        assert (found - other).abs().mean() > 1e-2


@BOTH_SCHEDULES
@UNTIL
def test_the_multistep_dpm_solver_agrees(denoiser: Denoiser, until: float) -> None:
    x, at = start_noise()[0], times(until)
    scheduler = DPMSolverMultistepScheduler(
        solver_order=2,
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="sigma_min",
    )
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = sigmas(denoiser, at)
    for i in range(STEPS - (until == 0)):
        x = scheduler.step(denoiser(x, at[i].expand(2)), scheduler.timesteps[i], x).prev_sample
    if until == 0:
        x = to_image(denoiser, at, x)
    found = ours(denoiser, start_noise()[0], until, "dpmpp_2m")
    assert_agrees(found, x)
    assert (found - ours(denoiser, start_noise()[0], until, "ddim")).abs().mean() > 1e-3


@BOTH_SCHEDULES
@UNTIL
def test_the_singlestep_dpm_solver_with_its_middle_at_the_end_is_heun(denoiser: Denoiser, until: float) -> None:
    x, at = start_noise()[0], times(until)
    steps = STEPS - (until == 0)
    scheduler = DPMSolverSinglestepScheduler(
        solver_order=2,
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_type="heun",
        final_sigmas_type="sigma_min",
    )
    scheduler.set_timesteps(2 * steps)
    scheduler.order_list = [1, 2] * steps
    # each of our steps is two of its: to the end, and again to the end, now with what was seen there
    scheduler.sigmas = torch.cat([sigmas(denoiser, at)[:1], sigmas(denoiser, at)[1:].repeat_interleave(2)])
    for i in range(steps):
        for j in range(2):
            x = scheduler.step(denoiser(x, at[i + j].expand(2)), scheduler.timesteps[2 * i + j], x).prev_sample
    if until == 0:
        x = to_image(denoiser, at, x)
    found = ours(denoiser, start_noise()[0], until, "heun")
    assert_agrees(found, x)
    assert (found - ours(denoiser, start_noise()[0], until, "ddim")).abs().mean() > 1e-3
