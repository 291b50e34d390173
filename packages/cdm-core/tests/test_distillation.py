"""Students against their teachers: exact ones that need no training, and a small one of a mixture of two colours."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from cdm_core import (
    CheckpointError,
    ConfigError,
    SamplingConfig,
    Schedule,
    StageConfig,
    TrainingConfig,
    sample,
    sample_stage,
)
from cdm_core.diffusion.schedule import ScheduleName
from cdm_core.diffusion.solver import step_weights
from cdm_core.distillation.teacher import DistillationMethod, Teacher, student_of, students_of
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.widen import with_guidance_input
from cdm_core.training.state import load_trained
from cdm_core.training.students import distill_stage

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]
MEAN, SPREAD = 0.3, 0.4


def nobody(x_t: Tensor, log_snr: Tensor) -> Tensor:
    raise AssertionError("no student is asked")


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
        return teacher.x0(x_t, ((1 - t) * steps).round().long(), Conditions(), nobody)

    wanted = sample(by_teacher, noise, schedule=schedule, times=2 * steps, method="ddim")
    got = sample(by_student, noise, schedule=schedule, times=steps, method="ddim")
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


@pytest.mark.parametrize("place", [1, 3, 4, 7])
def test_a_consistent_student_is_asked_to_end_where_it_would_end_one_part_later(tiny_stage: Stage, place: int) -> None:
    config = tiny_stage(objective="x0")
    teacher, schedule = Teacher(ExactGaussian(), config, 2, "consistency", parts=4), Schedule()
    generator = torch.Generator().manual_seed(0)
    x_t, other = (torch.randn(1, 3, 4, 4, generator=generator) for _ in range(2))
    asked: list[float] = []

    def student(x: Tensor, log_snr: Tensor) -> Tensor:
        asked.append(float(log_snr))
        return other.clamp(-1, 1)

    def towards(x: Tensor, x0: Tensor, begin: float, end: float) -> Tensor:
        weights = step_weights(schedule, (begin, end), method="ddim")[0]
        return weights.x * x + weights.x0 * x0

    begin, middle, end = 1 - place / 8, 1 - (place + 1) / 8, 0.5 if place < 4 else 0.0
    exact = ExactGaussian()(x_t, schedule.log_snr(torch.tensor([begin]))).clamp(-1, 1)
    x_middle = towards(x_t, exact, begin, middle)
    wanted = x_middle if middle == end else towards(x_middle, other.clamp(-1, 1), middle, end)
    x0 = teacher.x0(x_t, torch.tensor([place]), Conditions(), student)
    torch.testing.assert_close(towards(x_t, x0, begin, end), wanted, rtol=0, atol=1e-5)
    assert asked == pytest.approx([float(schedule.log_snr(torch.tensor(middle)))])


def test_places_are_the_begins_of_steps_or_of_their_parts(tiny_stage: Stage) -> None:
    config, times = tiny_stage(objective="x0"), torch.tensor([0.0, 0.24, 0.25, 0.99999])
    place, t = Teacher(ExactGaussian(), config, 4).position(times)
    assert (place.tolist(), t.tolist()) == ([0, 0, 1, 3], [1.0, 1.0, 0.75, 0.25])
    place, t = Teacher(ExactGaussian(), config, 4, "consistency", parts=2).position(times)
    assert (place.tolist(), t.tolist()) == ([0, 1, 2, 7], [1.0, 0.875, 0.75, 0.125])


def test_a_student_can_be_told_the_guidance(tiny_stage: Stage, random_unet: Unet) -> None:
    config = tiny_stage(unet={"text_embed_dim": 8}, sampling=SamplingConfig(8, guidance=2.0))
    stage, unet = student_of(config, 4, guidance=(1.0, 3.0)), random_unet(config).eval()
    assert stage.sampling.guidance == 2.0
    wider = with_guidance_input(config, stage, unet)
    generator = torch.Generator().manual_seed(0)
    x_t, embedding = torch.randn(2, 3, 16, 16, generator=generator), torch.randn(2, 8, generator=generator)
    conditions, t = Conditions(embedding=embedding, embedding_given=torch.tensor([True, True])), torch.full((2,), 0.5)
    plain = Denoiser(unet, replace(config, sampling=SamplingConfig(8)), conditions)(x_t, t)
    told = Denoiser(wider, stage, conditions)(x_t, t)
    torch.testing.assert_close(told, plain, rtol=0, atol=1e-5)  # it does not look at the weight yet
    first: Any = wider.get_parameter("init_conv.weight")
    with torch.no_grad():
        first[:, 0] = 0.1
    low, high = (Denoiser(wider, stage, conditions, torch.full((2,), weight))(x_t, t) for weight in (1.0, 3.0))
    torch.testing.assert_close(low, plain, rtol=0, atol=1e-5)  # it is told 0 and 1
    assert not torch.allclose(high, low, atol=1e-2)
    with pytest.raises(ValueError, match="taught guidance from 1 to 3, not 4"):
        replace(stage, sampling=replace(stage.sampling, guidance=4.0))
    with pytest.raises(ConfigError, match="its range of weights already"):
        student_of(stage, 2, guidance=(1.0, 2.0))
    with pytest.raises(ConfigError, match="no embedding to weigh"):
        student_of(tiny_stage(), 2, guidance=(1.0, 2.0))


def test_guided_students_learn_the_weight_that_they_are_told(tiny_stage: Stage) -> None:
    config = tiny_stage(unet={"text_embed_dim": 1}, objective="x0")

    class Pulled(nn.Module):
        """Says that pixels are 0.2 with the embedding and 0 without."""

        def forward(self, x_t: Tensor, log_snr: Tensor, cond_drop_prob: Tensor, **_: Tensor) -> Tensor:
            return torch.zeros_like(x_t) + 0.2 * (1 - cond_drop_prob.reshape(-1, 1, 1, 1))

    teacher, conditions = (
        Teacher(Pulled(), config, 1),
        Conditions(None, None, None, torch.ones(2, 1), torch.tensor([True] * 2)),
    )
    x_t, place = torch.zeros(2, 3, 4, 4), torch.tensor([0, 0])
    x0 = teacher.x0(x_t, place, conditions, nobody, guidance=torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(x0[:, 0, 0, 0], torch.tensor([0.2, 0.6]), rtol=0, atol=1e-3)


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


LEARNING = TrainingConfig(100, 8, learning_rate=5e-3, warmup_steps=20, ema_decay=0.9, log_every=50, sample_every=500)


@pytest.fixture(scope="module")
def taught(tiny_stage: Stage, runs: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[StageConfig, nn.Module]:
    """A stage of 4 steps, and a network that knows the two colours."""
    config = tiny_stage({"dim_mults": (1, 2)}, sampling=SamplingConfig(4, "ddim"))
    out = tmp_path_factory.mktemp("teacher")
    runs.train(config, out, LEARNING, examples=TwoColours())
    return config, load_trained(out / "state.pt", config)[0]


@pytest.mark.parametrize(("method", "students"), [("progressive", (2, 1)), ("consistency", (2,))])
def test_students_of_a_mixture_draw_what_their_teacher_does(
    taught: tuple[StageConfig, nn.Module],
    generators: Generators,
    tmp_path: Path,
    method: DistillationMethod,
    students: tuple[int, ...],
) -> None:
    config, teacher = taught
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    training = replace(LEARNING, steps=40, learning_rate=2e-3, loss_weight="truncated_snr")

    def distilled(stop: int | None = None) -> int:
        events = distill_stage(
            teacher,
            config,
            training,
            TwoColours(),
            tmp_path / "run",
            steps=students,
            method=method,
            parts=2,
            device="cpu",
            resume=True,
        )
        seen = list(islice(events, stop))
        events.close()  # type: ignore[attr-defined]
        return len(seen)

    whole = 40 * len(students)
    assert distilled(stop=whole - 30) + distilled() == whole  # stopped within the last student, it goes on there
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())

    def drawn(unet: nn.Module, stage: StageConfig, steps: int) -> Tensor:
        return sample_stage(unet.eval(), stage, generators=generators(*range(24)), steps=steps)

    wanted = drawn(teacher, config, 4)
    for steps in students:
        stage = student_of(config, steps)
        student, _ = load_trained(tmp_path / "run" / f"{steps}-steps" / "state.pt", stage)
        error, alone = (
            float((images - wanted).square().mean().sqrt())
            for images in (drawn(student, stage, steps), drawn(teacher, config, steps))
        )
        assert error < 0.75 * alone, steps  # nearer to the teacher's many steps than its own few are


def test_students_that_are_there_are_not_replaced(
    taught: tuple[StageConfig, nn.Module], tmp_path: Path, runs: Any
) -> None:
    config, teacher = taught
    runs.train(student_of(config, 1), tmp_path / "1-steps", runs.settings(steps=1), examples=TwoColours())
    options: dict[str, Any] = {"steps": (2, 1), "device": "cpu"}
    with pytest.raises(CheckpointError, match=r"1-steps: holds a training run \(state\.pt\); pass resume=True"):
        next(distill_stage(teacher, config, LEARNING, TwoColours(), tmp_path, **options))
    assert not (tmp_path / "2-steps").exists()
    with pytest.raises(ConfigError, match="wants steps of at least one student"):
        next(distill_stage(teacher, config, LEARNING, TwoColours(), tmp_path, steps=()))
    with pytest.raises(ConfigError, match="parts of at least 1, got 0"):
        next(distill_stage(teacher, config, LEARNING, TwoColours(), tmp_path, parts=0, **options))
