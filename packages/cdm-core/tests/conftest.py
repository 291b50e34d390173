import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cdm_core import Cascade, CascadeConfig, SamplingConfig, StageConfig, TrainingConfig
from cdm_core.stages.examples import Examples
from cdm_core.testing import tiny
from cdm_core.testing.tiny import tiny_unet


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_stage() -> Callable[..., StageConfig]:
    """Makes the configuration of a stage that takes milliseconds a step; keywords are `StageConfig`'s."""

    def make(unet: dict[str, Any] | None = None, **stage: Any) -> StageConfig:
        values = {"image_px": 8, "sampling": SamplingConfig(4, "ddpm"), **stage}
        return StageConfig(unet=tiny_unet(**{"init_conv_kernel_size": 7, **(unet or {})}), **values)

    return make


@pytest.fixture(scope="session")
def random_unet() -> Callable[..., nn.Module]:
    """Makes a network that predicts something: a fresh one starts with zeros in its last convolution."""

    def make(config: StageConfig, seed: int = 0) -> nn.Module:
        return tiny.random_unet(config, seed).eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def generators() -> Callable[..., list[torch.Generator]]:
    """Makes one generator for each seed."""

    def make(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    return make


@pytest.fixture(scope="session")
def make_cascade(
    tiny_stage: Callable[..., StageConfig], random_unet: Callable[..., nn.Module]
) -> Callable[[], Cascade]:
    """Makes a cascade of 8 px, then 16 px, with random weights, always the same."""

    def make() -> Cascade:
        stages = tiny_stage(), tiny_stage(image_px=16, lowres_px=8, objective="noise", schedule="linear")
        unets = [random_unet(stage, seed=i) for i, stage in enumerate(stages)]
        return Cascade(CascadeConfig(stages), unets, {"steps": 7})

    return make


@pytest.fixture
def cascade(make_cascade: Callable[[], Cascade]) -> Cascade:
    """A cascade of `make_cascade`, which a test may change."""
    return make_cascade()


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """Makes standard normal noise of a shape, always the same."""

    def make(*shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(99))

    return make


class RandomPictures:
    """Noise pictures of 16 px with a condition; the draws named are not finite."""

    def __init__(self, broken: range = range(0)) -> None:
        self.broken = broken

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        picture = torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(draw))
        image, condition = picture[:3], picture[3:]
        return {"image": image * float("nan") if draw in self.broken else image, "cond_images": condition}


class Runs:
    """Training runs, and what they leave behind."""

    pictures = RandomPictures

    def settings(self, **changes: Any) -> TrainingConfig:
        """The settings of a short run."""
        values = {"steps": 6, "batch_size": 2, "learning_rate": 1e-3, "warmup_steps": 2, "log_every": 1, **changes}
        return TrainingConfig(**values)

    def train(
        self,
        config: StageConfig,
        out_dir: Path,
        training: TrainingConfig | None = None,
        *,
        examples: Examples | None = None,
        stop: int | None = None,
        **options: Any,
    ) -> list[Any]:
        """Trains to the end, or closes the iterator after `stop` steps."""
        from cdm_core.training.loop import train_stage  # takes seconds to import, which other tests need not wait for

        training, examples = training or self.settings(), examples or RandomPictures()
        events = train_stage(config, training, examples, out_dir, device="cpu", **options)
        seen = list(islice(events, stop))
        assert isinstance(events, Iterator)
        events.close()  # type: ignore[attr-defined]
        return seen

    def state(self, out_dir: Path) -> dict[str, Any]:
        # thrice as fast as with weights only, which is how the library reads it
        values: dict[str, Any] = torch.load(out_dir / "state.pt", weights_only=False)
        assert values.keys() >= {"unet", "ema", "optimiser", "step"}
        return values

    def log(self, out_dir: Path) -> list[dict[str, Any]]:
        """The lines of the log, without what depends on the clock."""
        lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
        clock = ("seconds", "images_per_second", "aside_share")
        return [{name: value for name, value in line.items() if name not in clock} for line in lines]

    def assert_same(self, a: Any, b: Any) -> None:
        """Asserts that two states, or parts of them, are the same, tensors to the bit."""
        assert type(a) is type(b)
        if isinstance(a, Tensor):
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for name in a:
                self.assert_same(a[name], b[name])
        elif isinstance(a, list):
            for left, right in zip(a, b, strict=True):
                self.assert_same(left, right)
        else:
            assert a == b

    def assert_close(self, a: Any, b: Any) -> None:
        """Asserts that two states are the same but for rounding, weights to 1e-5.

        Where a gradient is zero but for rounding, Adam makes a whole step of it: one weight in a thousand may do so.
        """
        moments = [
            torch.cat([values["exp_avg"].flatten() for values in state["optimiser"]["state"].values()])
            for state in (a, b)
        ]
        torch.testing.assert_close(*moments, atol=1e-4 * float(moments[0].abs().max()), rtol=0)
        for part in ("unet", "ema"):
            both = [torch.cat([value.flatten() for value in state[part].values()]) for state in (a, b)]
            assert ((both[0] - both[1]).abs() < 1e-5).float().mean() > 0.999, part


@pytest.fixture(scope="session")
def runs() -> Runs:
    """Training runs on noise pictures, and what they leave behind."""
    return Runs()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a run begin with examples that are not finite, which it refuses otherwise."""
    from cdm_core.training.prepared_examples import PreparedExamples

    monkeypatch.setattr(PreparedExamples, "check", lambda *_, **__: None)


@pytest.fixture(scope="session")
def upper(tiny_stage: Callable[..., StageConfig]) -> StageConfig:
    """A super-resolution stage with a condition, as the noise pictures are for."""
    # wide enough for every weight to matter: eight group norms of one channel each would cancel biases to rounding
    unet = {"dim": 16, "dim_mults": (1,), "cond_images_channels": 1}
    return tiny_stage(unet, image_px=16, lowres_px=8, sampling=SamplingConfig(1, "ddim"))
