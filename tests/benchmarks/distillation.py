"""Students of a Gaussian mixture, whose exact denoiser is known: how far from the mixture is what each draws?

Every pixel of a picture is a draw from one mixture of three colours, so a network that sees single pixels is enough,
and a picture of 32 px is 1,024 draws. A teacher is trained on them, and distilled both ways to 8, 4, 2 and 1 steps.
The progressive students of 4, 2 and 1 steps are then finished on real pictures. Beside them stand the exact denoiser
and the teacher itself in as many steps of DDIM, and in many.

Distances are sliced Wasserstein distances to 32,768 draws from the mixture, whose pixels lie in [-1, 1]; the floor is
that of as many other draws. Of finished students, it prints the share of their draws that lies nearest to each of the
three colours as well: none may be lost.

    uv run python tests/benchmarks/distillation.py --out distillation
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import matplotlib
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cdm_core import SamplingConfig, StageConfig, TrainingConfig, UnetConfig, sample_stage
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.distillation.teacher import DistillationMethod, Teacher, student_of
from cdm_core.training.loop import train_stage

matplotlib.use("Agg")
from matplotlib import pyplot as plt

STEPS = (8, 4, 2, 1)
MANY = 64
SIDE = 32
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
MEANS = torch.tensor([[0.5, 0.2, 0.4], [-0.4, -0.5, 0.1], [0.1, 0.6, -0.6]])
SPREADS = torch.tensor([0.15, 0.08, 0.05])
DRAWS = 32_768
FINISHED = (4, 2, 1)
FINISHING = TrainingConfig(1, 4, learning_rate=2e-4, ema_decay=0.998, sample_every=10**9, checkpoint_every=10**9)
LOSSES = FinishingConfig(adversarial=0.5, image=0.0)
"""No difference to the real image: what a pixel is does not follow from its noise."""
LARGEST = {8: 0.02, 4: 0.03, 2: 0.04, 1: 0.06}
"""Distances that the better student of each number of steps has to stay under."""


def mixture(count: int, seed: int) -> Tensor:
    """Draws from the mixture, (count, 3)."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    noise = torch.randn(count, 3, generator=generator)
    return (MEANS[which] + SPREADS[which, None] * noise).clamp(-1, 1)


class Exact(nn.Module):
    """What a perfect network says: v of the mixture's posterior mean."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x_t: Tensor, log_snr: Tensor, **_: Tensor) -> Tensor:
        """Predicts v, (B, 3, H, W)."""
        alpha, sigma = (torch.sigmoid(sign * log_snr).sqrt().reshape(-1, 1, 1, 1, 1) for sign in (1, -1))
        x, means = x_t[:, None], MEANS.reshape(1, 3, 3, 1, 1)
        spread = SPREADS.reshape(1, 3, 1, 1, 1)
        variance = alpha**2 * spread**2 + sigma**2
        apart = x - alpha * means
        logs = WEIGHTS.log().reshape(1, 3, 1, 1) - 0.5 * (apart**2 / variance).sum(2) - 1.5 * variance.log().squeeze(2)
        shares = logs.softmax(1)[:, :, None]
        x0 = (shares * (means + alpha * spread**2 / variance * apart)).sum(1)
        return (alpha[:, 0] * x_t - x0) / sigma[:, 0]


class EachPixel(nn.Module):
    """A network that looks at one pixel at a time."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers = [nn.Conv2d(3 + 9, width, 1), nn.SiLU()]
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 1), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 1))

    def forward(self, x_t: Tensor, log_snr: Tensor, **_: Tensor) -> Tensor:
        """Predicts v, (B, 3, H, W)."""
        phases = log_snr[:, None] / 8 * torch.tensor([1.0, 2.0, 4.0, 8.0])
        told = torch.cat((log_snr[:, None] / 8, phases.sin(), phases.cos()), dim=1)[:, :, None, None]
        images: Tensor = self.layers(torch.cat((x_t, told.expand(-1, -1, *x_t.shape[2:])), dim=1))
        return images


class Pictures:
    """Pictures whose pixels are draws from the mixture."""

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        return {"image": (mixture(SIDE**2, draw + 10**6).T.reshape(3, SIDE, SIDE) + 1) / 2}


def trained(
    stage: StageConfig,
    training: TrainingConfig,
    start: nn.Module,
    teacher: Teacher | None = None,
    finishing: FinishingConfig | None = None,
) -> nn.Module:
    """Trains a network from a start, on the mixture or after a teacher, and returns the running mean of its weights."""
    # for the stage's own, which it is held to
    stands_in = patch("cdm_core.training.setup.build_unet", lambda _: EachPixel())
    with stands_in, tempfile.TemporaryDirectory() as folder:
        for _ in train_stage(
            stage,
            training,
            Pictures(),
            Path(folder),
            initial=start,
            teacher=teacher,
            finishing=finishing,
            device="cpu",
        ):
            pass
        averaged = AveragedModel(EachPixel())
        averaged.load_state_dict(torch.load(Path(folder) / "state.pt", weights_only=True)["ema"])
    return averaged.module.eval().requires_grad_(False)


def drawn(network: nn.Module, stage: StageConfig, steps: int) -> Tensor:
    """Draws as many pixels as `DRAWS`, (DRAWS, 3)."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(DRAWS // SIDE**2)]
    images = sample_stage(network, stage, generators=generators, steps=steps) * 2 - 1
    return images.permute(0, 2, 3, 1).reshape(-1, 3)


def distance(one: Tensor, other: Tensor) -> float:
    """The sliced Wasserstein distance of two sets of as many points, over 64 directions."""
    directions = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    directions /= directions.norm(dim=0)
    apart = (one @ directions).sort(dim=0).values - (other @ directions).sort(dim=0).values
    return float(apart.abs().mean())


def shares(pixels: Tensor) -> list[float]:
    """The share of pixels that lies nearest to each of the three colours."""
    nearest = torch.cdist(pixels, MEANS).argmin(dim=1)
    return [round(float((nearest == number).float().mean()), 4) for number in range(len(MEANS))]


def measure(
    teacher_steps: int, student_steps: int, finishing_steps: int
) -> tuple[dict[str, dict[int, float]], dict[int, list[float]]]:
    """Trains, distils and finishes.

    Returns the distances of each kind of network at each number of steps, and the shares of finished ones' colours.
    """
    wanted = mixture(DRAWS, 0)
    stage = StageConfig(SIDE, UnetConfig(dim=8), sampling=SamplingConfig(MANY, "ddim"))
    training = TrainingConfig(
        teacher_steps, 4, learning_rate=2e-3, warmup_steps=100, sample_every=10**9, checkpoint_every=10**9
    )
    torch.manual_seed(0)
    network = trained(stage, training, EachPixel())
    found = {
        "exact": {steps: distance(drawn(Exact(), stage, steps), wanted) for steps in (MANY, *STEPS)},
        "teacher": {steps: distance(drawn(network, stage, steps), wanted) for steps in (MANY, *STEPS)},
        "floor": {MANY: distance(mixture(DRAWS, 1), wanted)},
    }
    learning = replace(training, steps=student_steps, learning_rate=1e-3, loss_weight="truncated_snr")
    chains: dict[DistillationMethod, tuple[int, ...]] = {
        "progressive": (MANY // 2, MANY // 4, *STEPS),
        "consistency": STEPS,
    }
    to_finish: dict[int, nn.Module] = {}
    for method, chain in chains.items():
        found[method] = {}
        master, known = network, stage
        for steps in chain:
            student = student_of(stage, steps)
            parts = MANY // steps
            teacher = Teacher(master, known, steps, method, parts)
            made = trained(student, learning, master, teacher)
            if steps in STEPS:
                found[method][steps] = distance(drawn(made, student, steps), wanted)
            if method == "progressive":
                master, known = made, student
                to_finish[steps] = made
    found["finished"], colours = {}, {}
    for steps in FINISHED:
        student = student_of(stage, steps)
        made = trained(student, replace(FINISHING, steps=finishing_steps), to_finish[steps], finishing=LOSSES)
        pixels = drawn(made, student, steps)
        found["finished"][steps], colours[steps] = distance(pixels, wanted), shares(pixels)
    return found, colours


def picture(found: dict[str, dict[int, float]], path: Path) -> None:
    """Plots distances by steps."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in ("exact", "teacher", "progressive", "consistency", "finished"):
        points = sorted(found[name].items())
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.axhline(found["floor"][MANY], color="grey", linestyle=":", label="other draws from the mixture")
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="sliced Wasserstein distance")
    axes.set_xticks([*STEPS, MANY], [str(each) for each in (*STEPS, MANY)])
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measures, tells, and fails if a distance is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("distillation"), help="folder of the figures and the plot")
    parser.add_argument("--teacher-steps", type=int, default=4000, help="training steps of the teacher")
    parser.add_argument("--student-steps", type=int, default=1500, help="training steps of every student")
    parser.add_argument("--finishing-steps", type=int, default=1500, help="training steps on real pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, colours = measure(options.teacher_steps, options.student_steps, options.finishing_steps)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "distillation.json").write_text(json.dumps({"distances": found, "colours": colours}, indent=1))
    picture(found, options.out / "distillation.png")
    print(f"{'':12}" + "".join(f"{steps:>9}" for steps in (MANY, *STEPS)))
    for name, figures in found.items():
        print(f"{name:12}" + "".join(f"{figures.get(steps, float('nan')):9.4f}" for steps in (MANY, *STEPS)))
    print(f"{'colours':12}" + "".join(f"{steps:>4}: {of_steps}" for steps, of_steps in colours.items()))
    for steps, of_steps in colours.items():
        if min(share / wanted for share, wanted in zip(of_steps, WEIGHTS.tolist(), strict=True)) < 0.8:
            raise SystemExit(f"finished in {steps} steps, a colour is lost: {of_steps}, wanted {WEIGHTS.tolist()}")
    for steps, largest in LARGEST.items():
        best = min(found["progressive"][steps], found["consistency"][steps])
        if best > largest:
            raise SystemExit(f"the students of {steps} steps are {best:.4f} from the mixture, over {largest}")


if __name__ == "__main__":
    main()
