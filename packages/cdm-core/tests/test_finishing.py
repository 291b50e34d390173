"""Students finished on real images: where their steps start, what they learn, and that a run goes on to the bit."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import CheckpointError, ConfigError, SamplingConfig, StageConfig, TrainingConfig, sample_stage
from cdm_core.diffusion.solver import step_weights
from cdm_core.distillation.discriminator import Discriminator
from cdm_core.distillation.finishing import Finisher, FinishingConfig, FinishingPlan
from cdm_core.distillation.teacher import Teacher
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.training.loop import train_stage
from cdm_core.training.state import load_trained

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
STUDENT = SamplingConfig(4, "ddim")
SMALL = FinishingConfig(widths=(8, 8), starts_at=2, rises_for=4, r1_every=3)


def network_of(unet: nn.Module) -> Callable[[Tensor, Tensor, Conditions], Tensor]:
    return lambda x_t, log_snr, conditions: unet(x_t, log_snr, **conditions.of_network(x_t))


def run(config: StageConfig, training: TrainingConfig, data: Any, folder: Path, count: int, **more: Any) -> None:
    list(islice(train_stage(config, training, data, folder, device="cpu", **more), count))


class Checkers:
    """Checkerboards of two grey values in one of two phases: the mean of both phases is plain grey."""

    def __init__(self, side: int = 8) -> None:
        self.board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float()

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        board = self.board if torch.Generator().manual_seed(draw).initial_seed() % 3 else 1 - self.board
        return {"image": (0.1 + 0.8 * board).expand(3, -1, -1).clone()}


class Everything:
    """Examples with all that a stage may be conditioned on."""

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(draw)
        parts = {"image": (3, 16, 16), "cond_images": (2, 16, 16), "embedding": (4,)}
        return {name: torch.rand(shape, generator=generator) for name, shape in parts.items()}


@pytest.mark.parametrize(("place", "power"), [(0, 1.0), (1, 1.0), (3, 1.0), (3, 2.0)])
def test_own_starts_are_where_sampling_has_come_to(
    tiny_stage: Stage, random_unet: Unet, place: int, power: float
) -> None:
    config = tiny_stage(sampling=replace(STUDENT, time_power=power))
    unet = random_unet(config)
    finisher = Finisher.of(config, SMALL, 0, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(4, 3, 8, 8, generator=generator) for _ in range(2))
    own = torch.tensor([False, True, False, True])
    starts = finisher.starts(x0, noise, own, place, Conditions(), network_of(unet))
    denoiser, times = Denoiser(unet, config), [time**power for time in (1.0, 0.75, 0.5, 0.25, 0.0)]
    drawn = noise
    for step in range(place):
        weight = step_weights(denoiser.schedule, times[step : step + 2], method="ddim")[0]
        drawn = weight.x * drawn + weight.x0 * denoiser(drawn, torch.full((4,), times[step]))
    noised = denoiser.schedule.add_noise(x0, torch.full((4,), times[place]), noise)
    torch.testing.assert_close(starts[own], drawn[own], rtol=0, atol=1e-2 if place == 0 else 1e-5)
    torch.testing.assert_close(starts[~own], noised[~own])


@pytest.mark.thorough
def test_the_student_draws_what_is_real_and_not_the_mean_of_it(tiny_stage: Stage) -> None:
    """Each pixel is dark or bright: the best guess from noise, and what distillation of one step teaches, is grey."""
    config = tiny_stage(sampling=SamplingConfig(1, "ddim"), objective="x0")
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Tanh(), nn.Conv2d(32, 3, 1))
    losses = FinishingConfig(adversarial=1.0, starts_at=0, rises_for=1, learning_rate=3e-3, widths=(16, 16))
    finisher = Finisher.of(config, losses, 0, torch.device("cpu"))
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3, betas=(0.5, 0.99))
    own = torch.ones(8, dtype=torch.bool)
    for step in range(200):
        real = 0.8 * torch.randint(2, (8, 3, 4, 4), generator=generator).float().mul(2).sub(1)
        noise = torch.randn(8, 3, 4, 4, generator=generator)
        loss = finisher(real, noise, own, step, 0, Conditions(), lambda x_t, *_: student(x_t), share=8)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        finisher.adversary.advance(1.0, torch.zeros(()))
    drawn = student(torch.randn(64, 3, 4, 4, generator=generator)).detach()
    assert 0.55 < drawn.abs().mean() < 1.1
    assert 0.35 < (drawn > 0).float().mean() < 0.65  # both colours


def test_a_run_goes_on_to_the_bit_with_all_conditions(tiny_stage: Stage, random_unet: Unet, tmp_path: Path) -> None:
    unet = {"cond_images_channels": 2, "text_embed_dim": 4, "layer_cross_attns": True}
    config = tiny_stage(unet=unet, image_px=16, lowres_px=8, sampling=STUDENT, max_lowres_noise=0.3)
    training = TrainingConfig(8, 4, crop_px=8, log_every=1)
    start = random_unet(config)
    for folder, counts in (("whole", (8,)), ("parts", (3, 5))):
        for count in counts:
            run(config, training, Everything(), tmp_path / folder, count, initial=start, finishing=SMALL, resume=True)
    whole, parts = (torch.load(tmp_path / folder / "state.pt") for folder in ("whole", "parts"))
    for part in ("unet", "ema"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name
    for name, value in whole["adversary"]["network"].items():
        assert torch.equal(value, parts["adversary"]["network"][name]), name
    assert any(not torch.equal(value, whole["unet"][name]) for name, value in start.state_dict().items())
    with pytest.raises(CheckpointError, match=r"finishing\.r1 = 0\.0001, not 0\.1"):
        run(config, training, Everything(), tmp_path / "whole", 1, finishing=replace(SMALL, r1=0.1), resume=True)
    with pytest.raises(CheckpointError, match="was started to finish a student"):
        run(config, training, Everything(), tmp_path / "whole", 1, resume=True)


def test_chunks_change_rounding_only(tiny_stage: Stage, random_unet: Unet, tmp_path: Path) -> None:
    config = tiny_stage(sampling=STUDENT)
    for chunk in (4, 2):
        training = TrainingConfig(6, 4, chunk_size=chunk)
        run(config, training, Checkers(), tmp_path / str(chunk), 6, initial=random_unet(config), finishing=SMALL)
    one, other = (torch.load(tmp_path / folder / "state.pt")["unet"] for folder in ("4", "2"))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=2e-4)


@pytest.mark.parametrize(("steps", "precision"), [(1, "fp32"), (2, "fp32"), (2, "bf16")])
def test_a_base_stage_is_finished_from_pure_noise_on(
    tiny_stage: Stage, random_unet: Unet, tmp_path: Path, steps: int, precision: Any
) -> None:
    """At time 1 nothing is left of the real image: there the discriminator alone teaches the student."""
    config = tiny_stage(sampling=SamplingConfig(steps, "ddim"))
    start = random_unet(config)
    training = TrainingConfig(6, 4, learning_rate=1e-3, precision=precision, log_every=1, ema_decay=0.0)
    losses = replace(SMALL, starts_at=0, rises_for=1)
    run(config, training, Checkers(), tmp_path, 6, initial=start, finishing=losses)
    state = torch.load(tmp_path / "state.pt")
    assert (state["step"], state["skipped"]) == (6, 0)
    assert all(value.isfinite().all() for value in state["adversary"]["network"].values())
    unet, _ = load_trained(tmp_path / "state.pt", config)
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in unet.state_dict().values())
    before, after = (
        sample_stage(network.eval(), config, generators=[torch.Generator().manual_seed(1)]) for network in (start, unet)
    )
    assert after.isfinite().all()
    assert (after - before).abs().max() > 1e-3


def test_a_step_without_finite_loss_leaves_the_discriminator_alone(
    tiny_stage: Stage, random_unet: Unet, tmp_path: Path
) -> None:
    class Spoilt(Checkers):
        def __getitem__(self, draw: int) -> dict[str, Tensor]:
            return {"image": super().__getitem__(draw)["image"] * (torch.nan if draw >= 4 else 1)}

    config = tiny_stage(sampling=STUDENT)
    training = TrainingConfig(4, 4, checkpoint_every=1)
    states = []
    for count in (1, 3):
        folder = tmp_path / str(count)
        run(config, training, Spoilt(), folder, count, initial=random_unet(config), finishing=SMALL)
        states.append(torch.load(folder / "state.pt")["adversary"]["network"])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


def test_what_cannot_be_finished(tiny_stage: Stage, random_unet: Unet, tmp_path: Path) -> None:
    training = TrainingConfig(2, 2)
    with pytest.raises(ConfigError, match="a student of DDIM with eta 0 can be finished, got ddpm"):
        run(tiny_stage(), training, Checkers(), tmp_path, 1, finishing=SMALL)
    config = tiny_stage(sampling=STUDENT)
    teacher = Teacher(random_unet(config), config, 2)
    with pytest.raises(ConfigError, match="not both"):
        run(config, training, Checkers(), tmp_path, 1, finishing=SMALL, teacher=teacher)
    for fault in ({"r1": float("nan")}, {"adversarial": -1}, {"widths": ()}, {"r1_every": 0}, {"widths": (0,)}):
        with pytest.raises(ConfigError):
            FinishingConfig(**fault)
    assert not list(tmp_path.iterdir())


def test_a_plan_tells_the_stage_of_the_student(tiny_stage: Stage) -> None:
    teacher, student = tiny_stage(sampling=SamplingConfig(24, "dpmpp_2m")), tiny_stage(sampling=STUDENT)
    assert FinishingPlan(steps=3).student(teacher).sampling == SamplingConfig(3, "ddim")
    assert FinishingPlan().student(student) == student
    uneven = FinishingPlan(steps=2, time_power=3.0).student(teacher)
    assert uneven.sampling == SamplingConfig(2, "ddim", time_power=3.0)
    assert FinishingPlan(steps=2).student(uneven) == uneven
    for stage, plan, fault in (
        (teacher, FinishingPlan(), "the stage of 8 px is sampled with dpmpp_2m, as no student is; set finishing.steps"),
        (tiny_stage(sampling=SamplingConfig(4, "ddim", eta=0.5)), FinishingPlan(), "with eta 0.5; make one"),
        (tiny_stage(objective="noise"), FinishingPlan(steps=2), "predicts noise"),
    ):
        with pytest.raises(ConfigError, match=fault):
            plan.student(stage)
    with pytest.raises(ConfigError, match="a student takes at least 1 step, got 0"):
        FinishingPlan(steps=0)
    with pytest.raises(ConfigError, match=r"share lies in \(0, 1\], got 0"):
        FinishingPlan(share=0.0)


def test_a_share_of_the_finished_weights_is_kept(tiny_stage: Stage, random_unet: Unet) -> None:
    config = tiny_stage(sampling=STUDENT)
    start, finished = random_unet(config, 0), random_unet(config, 1)
    wanted = {name: torch.lerp(start.state_dict()[name], new, 0.25) for name, new in finished.state_dict().items()}
    merged = FinishingPlan(share=0.25).merged(start, finished).state_dict()
    for name, value in wanted.items():
        torch.testing.assert_close(merged[name], value)


def test_the_discriminator_sees_every_pixel_alike() -> None:
    """Otherwise its gradient is larger at every second pixel."""
    network = Discriminator(3, (4, 4, 4, 4, 4))
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    images = torch.ones(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    inside = gradient[0, :, 16:48, 16:48]
    torch.testing.assert_close(inside, inside.mean().expand_as(inside))
