"""Students against their teachers: exact ones that need no training, and a small one of a mixture of two colours."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import ConfigError, SamplingConfig, Schedule, StageConfig, sample, sample_stage
from cdm_core.denoiser import Conditions
from cdm_core.distillation import Teacher, distill_stage, student_of, students_of
from cdm_core.schedule import ScheduleName
from cdm_core.training_state import load_trained

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
MEAN, SPREAD = 0.3, 0.4


class ExactGaussian(nn.Module):
    """What a perfect network says of pixels drawn from N(mean, spread^2), as the image itself."""

    def forward(self, x_t: Tensor, log_snr: Tensor, **_: Tensor) -> Tensor:
        alpha, variance = (torch.sigmoid(sign * log_snr).reshape(-1, 1, 1, 1) for sign in (1, -1))
        alpha = alpha.sqrt()
        gain = SPREAD**2 * alpha / (alpha**2 * SPREAD**2 + variance)
        return MEAN + gain * (x_t - alpha * MEAN)


@pytest.mark.parametrize("name", get_args(ScheduleName))
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_students_step_ends_where_two_of_its_teacher_do(tiny_stage: Stage, name: ScheduleName, steps: int) -> None:
    config = tiny_stage(objective="x0", schedule=name)
    teacher, schedule = Teacher(ExactGaussian(), config, steps), Schedule(name)
    noise = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def by_teacher(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        gain = SPREAD**2 * alpha / (alpha**2 * SPREAD**2 + sigma**2)
        return (MEAN + gain * (x_t - alpha * MEAN)).clamp(-1, 1)

    def by_student(x_t: Tensor, t: Tensor) -> Tensor:
        return teacher.x0(x_t, ((1 - t) * steps).round().long(), Conditions())

    wanted = sample(by_teacher, noise, schedule=schedule, steps=2 * steps)
    got = sample(by_student, noise, schedule=schedule, steps=steps)
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


def test_times_fall_on_the_starts_of_the_students_steps(tiny_stage: Stage) -> None:
    teacher = Teacher(ExactGaussian(), tiny_stage(objective="x0"), 4)
    step, t = teacher.start_of_step(torch.tensor([0.0, 0.24, 0.25, 0.99999]))
    assert step.tolist() == [0, 0, 1, 3]
    assert t.tolist() == [1.0, 1.0, 0.75, 0.25]


def test_guidance_and_threshold_of_the_teacher_go_into_the_student(tiny_stage: Stage) -> None:
    sampling = SamplingConfig(64, "dpmpp_2m", guidance=3.0, threshold="dynamic", lowres_noise=0.1)
    student = student_of(tiny_stage(unet={"text_embed_dim": 8}, sampling=sampling), 4)
    assert student.sampling == SamplingConfig(4, "ddim", lowres_noise=0.1)


def test_a_stage_that_predicts_noise_has_no_students(tiny_stage: Stage) -> None:
    with pytest.raises(ConfigError, match="predicts noise"):
        student_of(tiny_stage(objective="noise"), 4)


@pytest.mark.parametrize(
    ("teacher", "least", "students"),
    [(16, 1, (8, 4, 2, 1)), (24, 1, (16, 8, 4, 2, 1)), (24, 3, (12, 6, 3)), (2, 1, (1,)), (9, 8, (8,))],
)
def test_students_halve_their_steps_down_to_the_least(teacher: int, least: int, students: tuple[int, ...]) -> None:
    assert students_of(teacher, least) == students


@pytest.mark.parametrize("least", [0, 8, 9])
def test_a_student_takes_fewer_steps_than_its_teacher(least: int) -> None:
    with pytest.raises(ConfigError, match=f"from 1 to 7, not {least}"):
        students_of(8, least)


def test_students_that_do_not_follow_one_another(
    tiny_stage: Stage, random_unet: Unet, runs: Any, tmp_path: Path
) -> None:
    config = tiny_stage()
    events = distill_stage(
        random_unet(config), config, runs.settings(), runs.pictures(), tmp_path / "run", steps=(8, 2), device="cpu"
    )
    with pytest.raises(ConfigError, match="half its teacher's steps, got 2 after 8"):
        next(events)
    assert not (tmp_path / "run").exists()


class TwoColours:
    """Pictures of one of two colours, a third and two thirds of them, with a little noise."""

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(draw)
        colour = torch.tensor([0.8, 0.6, 0.7] if draw % 3 else [0.2, 0.3, 0.5]).reshape(3, 1, 1)
        return {"image": (colour + 0.03 * torch.randn(3, 8, 8, generator=generator)).clamp(0, 1)}


def test_students_of_a_mixture_draw_what_their_teacher_does(
    tiny_stage: Stage, runs: Any, generators: Generators, tmp_path: Path
) -> None:
    config = tiny_stage(sampling=SamplingConfig(4, "ddim"))
    learning = runs.settings(
        steps=120, batch_size=8, learning_rate=5e-3, warmup_steps=20, ema_decay=0.9, log_every=50, sample_every=500
    )
    runs.train(config, tmp_path / "teacher", learning, examples=TwoColours())
    teacher, _ = load_trained(tmp_path / "teacher" / "state.pt", config)
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    training = replace(learning, steps=50, learning_rate=2e-3, loss_weight="truncated_snr")

    def distilled(stop: int | None = None) -> int:
        events = distill_stage(
            teacher, config, training, TwoColours(), tmp_path / "run", steps=(2, 1), device="cpu", resume=True
        )
        seen = list(islice(events, stop))
        events.close()  # type: ignore[attr-defined]
        return len(seen)

    assert distilled(stop=70) + distilled() == 100  # stopped within the second student, it goes on there
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())

    def drawn(unet: nn.Module, stage: StageConfig, steps: int) -> Tensor:
        return sample_stage(unet.eval(), stage, generators=generators(*range(64)), steps=steps)

    wanted = drawn(teacher, config, 4)
    for steps in (2, 1):
        stage = student_of(config, steps)
        student, _ = load_trained(tmp_path / "run" / f"{steps}-steps" / "state.pt", stage)
        error, alone = (
            float((images - wanted).square().mean().sqrt())
            for images in (drawn(student, stage, steps), drawn(teacher, config, steps))
        )
        assert error < 0.75 * alone, steps  # nearer to the teacher's many steps than its own few are
