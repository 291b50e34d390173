import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from torch import Tensor, nn

from cdm_core import CheckpointError, SamplingConfig, StageConfig, TrainingConfig, TrainingError
from cdm_core.stage import sample_stage
from cdm_core.training import Examples, TrainingEvent, train_stage
from cdm_core.training_state import load_trained

Stage = Callable[..., StageConfig]
Drawn = dict[str, Tensor]


class RandomPictures:
    """Noise pictures of 16 px with a condition; the draws named are not finite."""

    def __init__(self, broken: range = range(0)) -> None:
        self.broken = broken

    def __getitem__(self, draw: int) -> Drawn:
        picture = torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(draw))
        image, condition = picture[:3], picture[3:]
        return {"image": image * float("nan") if draw in self.broken else image, "cond_images": condition}


class OneColour:
    """The same picture always."""

    colour = torch.tensor([0.8, 0.3, 0.5])

    def __getitem__(self, draw: int) -> Drawn:
        return {"image": self.colour.reshape(3, 1, 1).expand(3, 8, 8).clone()}


@pytest.fixture
def upper(tiny_stage: Stage) -> StageConfig:
    """A super-resolution stage with a condition: everything that a step can draw or read."""
    return tiny_stage({"cond_images_channels": 1}, image_px=16, lowres_px=8, sampling=SamplingConfig(1, "ddim"))


def settings(**changes: Any) -> TrainingConfig:
    values = {"steps": 6, "batch_size": 2, "learning_rate": 1e-3, "warmup_steps": 2, "log_every": 1, **changes}
    return TrainingConfig(**values)


def run(
    config: StageConfig,
    training: TrainingConfig,
    out_dir: Path,
    *,
    examples: Examples | None = None,
    stop: int | None = None,
    **options: Any,
) -> list[TrainingEvent]:
    """Trains to the end, or closes the iterator after `stop` steps."""
    events = train_stage(config, training, examples or RandomPictures(), out_dir, device="cpu", **options)
    seen = list(islice(events, stop))
    assert isinstance(events, Iterator)
    events.close()  # type: ignore[attr-defined]
    return seen


def state_of(out_dir: Path) -> dict[str, Any]:
    values: dict[str, Any] = torch.load(out_dir / "state.pt", weights_only=True)
    return values


def log_of(out_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_same_states(first: Path, second: Path) -> None:
    def compare(a: Any, b: Any) -> None:
        assert type(a) is type(b)
        if isinstance(a, Tensor):
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for name in a:
                compare(a[name], b[name])
        elif isinstance(a, list):
            for left, right in zip(a, b, strict=True):
                compare(left, right)
        else:
            assert a == b

    one, other = state_of(first), state_of(second)
    assert one.keys() >= {"unet", "ema", "optimiser", "step"}
    compare(one, other)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_goes_on_along_the_same_trajectory(upper: StageConfig, tmp_path: Path, stop: int) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    whole = run(upper, settings(), straight)
    parts = run(upper, settings(), resumed, stop=stop) + run(upper, settings(), resumed, resume=True)
    assert parts == whole
    assert [event.step for event in whole] == [1, 2, 3, 4, 5, 6]
    assert_same_states(straight, resumed)
    assert log_of(straight) == log_of(resumed)


def test_a_killed_run_repeats_the_steps_since_its_last_state(upper: StageConfig, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    run(upper, settings(), straight)
    run(upper, settings(), killed, stop=3)
    state = (killed / "state.pt").read_bytes()
    run(upper, settings(), killed, stop=2, resume=True)
    (killed / "state.pt").write_bytes(state)
    with (killed / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')  # killed while it wrote
    run(upper, settings(), killed, resume=True)
    assert_same_states(straight, killed)
    assert log_of(straight) == log_of(killed)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_do_not_change_the_trajectory(upper: StageConfig, tmp_path: Path) -> None:
    none, one = (run(upper, settings(steps=3, workers=n), tmp_path / str(n)) for n in (0, 1))
    assert none == one


def test_the_seed_decides_the_trajectory(upper: StageConfig, tmp_path: Path) -> None:
    first, same, other = (
        run(upper, settings(steps=2, seed=seed), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))
    )
    assert first == same
    assert first != other


def test_a_run_without_resume_starts_again(upper: StageConfig, tmp_path: Path) -> None:
    first = run(upper, settings(), tmp_path, stop=3)
    again = run(upper, settings(), tmp_path, stop=2)
    assert again == first[:2]
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]


def test_a_finished_run_has_nothing_to_resume(upper: StageConfig, tmp_path: Path) -> None:
    run(upper, settings(steps=2), tmp_path)
    assert run(upper, settings(steps=2), tmp_path, resume=True) == []


def test_closing_the_iterator_early_saves_the_state(upper: StageConfig, tmp_path: Path) -> None:
    run(upper, settings(), tmp_path, stop=2)
    assert state_of(tmp_path)["step"] == 2
    assert load_trained(tmp_path / "state.pt", upper)[1] == 2


def test_training_can_start_from_a_network(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path
) -> None:
    unet = random_unet(upper)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    run(upper, settings(steps=1, learning_rate=0.0), tmp_path, initial=unet)
    trained, _ = load_trained(tmp_path / "state.pt", upper)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_step_that_is_not_finite_is_skipped_and_counted(upper: StageConfig, tmp_path: Path) -> None:
    examples = RandomPictures(broken=range(3, 4))
    events = run(upper, settings(), tmp_path, examples=examples)
    assert [event.skipped for event in events] == [0, 1, 1, 1, 1, 1]
    assert [line["skipped"] for line in log_of(tmp_path)] == [0, 1, 1, 1, 1, 1]
    assert [np.isfinite(event.loss) for event in events] == [True, False, True, True, True, True]
    assert all(torch.isfinite(value).all() for value in state_of(tmp_path)["unet"].values())


def test_skipped_steps_are_still_counted_after_resuming(upper: StageConfig, tmp_path: Path) -> None:
    examples = RandomPictures(broken=range(3, 4))
    run(upper, settings(), tmp_path, examples=examples, stop=3)
    assert [event.skipped for event in run(upper, settings(), tmp_path, examples=examples, resume=True)] == [1, 1, 1]


def test_a_skipped_step_changes_no_weights(upper: StageConfig, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    examples = RandomPictures(broken=range(2, 4))
    run(upper, settings(), before, examples=examples, stop=1)
    run(upper, settings(), after, examples=examples, stop=2)
    one, two = state_of(before), state_of(after)
    for part in ("unet", "ema"):
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])


def test_a_run_of_skipped_steps_stops_the_training(upper: StageConfig, tmp_path: Path) -> None:
    training, examples = settings(steps=40, checkpoint_every=2), RandomPictures(broken=range(4, 80))
    events = train_stage(upper, training, examples, tmp_path, device="cpu")
    seen: list[TrainingEvent] = []
    with pytest.raises(TrainingError, match=r"20 steps in a row without a finite loss; lower learning_rate") as caught:
        seen.extend(events)
    assert "\n" not in str(caught.value)
    assert [event.step for event in seen] == list(range(1, 22))
    weights = load_trained(tmp_path / "state.pt", upper)[0].state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 2e-3}, "training.learning_rate = 0.001, not 0.002"),
        ({"batch_size": 4}, "training.batch_size = 2, not 4"),
        ({"steps": 7}, "training.steps = 6, not 7"),
    ],
)
def test_a_state_of_other_settings_is_refused(
    upper: StageConfig, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    run(upper, settings(), tmp_path, stop=1)
    with pytest.raises(CheckpointError, match=named):
        run(upper, settings(**changes), tmp_path, resume=True)


def test_settings_that_do_not_touch_the_trajectory_may_change(upper: StageConfig, tmp_path: Path) -> None:
    run(upper, settings(), tmp_path, stop=4)
    changed = settings(log_every=3, checkpoint_every=2, sample_every=5)
    assert [event.step for event in run(upper, changed, tmp_path, resume=True)] == [5, 6]


def test_a_state_of_another_stage_is_refused(upper: StageConfig, tiny_stage: Stage, tmp_path: Path) -> None:
    run(upper, settings(), tmp_path, stop=1)
    other = tiny_stage({"cond_images_channels": 1}, image_px=16, lowres_px=8, objective="x0", sampling=upper.sampling)
    with pytest.raises(CheckpointError, match=r"stage\.objective = v, not x0"):
        run(other, settings(), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"stage\.objective = v, not x0"):
        load_trained(tmp_path / "state.pt", other)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a\nstate\n")


def stray_bytes(path: Path) -> None:
    path.write_bytes(b"UU.")


def other_tensors(path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, path)


def a_tensor(path: Path) -> None:
    torch.save(torch.zeros(1), path)


def a_pickle(path: Path) -> None:
    torch.save(Path("x"), path)


@pytest.mark.parametrize("damage", [truncated, emptied, text, stray_bytes, other_tensors, a_tensor, a_pickle])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_state_is_one_line(tiny_stage: Stage, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    config, path = tiny_stage(sampling=SamplingConfig(1, "ddim")), tmp_path / "state.pt"
    run(config, settings(steps=1, batch_size=1), tmp_path, examples=OneColour())
    damage(path)
    with pytest.raises(CheckpointError) as caught:
        load_trained(path, config)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "delete it to start again" in message
    assert "\n" not in message


def test_a_missing_state_is_told(upper: StageConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no training state here; train first"):
        load_trained(tmp_path / "state.pt", upper)


def test_sheets_show_real_images_above_samples(upper: StageConfig, tmp_path: Path) -> None:
    run(upper, settings(steps=5, sample_every=2), tmp_path)
    sheets = sorted((tmp_path / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["0000002.png", "0000004.png", "0000005.png"]
    with Image.open(sheets[0]) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 16, 6 * 16, 3)
    real = torch.cat([RandomPictures()[i]["image"] for i in range(6)], dim=2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(pixels[:16], real * 255, atol=0.51)


def test_the_learning_rate_warms_up_and_falls(upper: StageConfig, tmp_path: Path) -> None:
    run(upper, settings(steps=8, warmup_steps=4, log_every=2), tmp_path)
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    rates = [line["learning_rate"] for line in lines]
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3 * 0.853553, 1e-3 * 0.146447], rel=1e-4)


@pytest.fixture
def _fresh_accelerator() -> Iterator[None]:
    """A process has one precision; this lets a test have its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("_fresh_accelerator")
def test_bfloat16_loses_little(upper: StageConfig, tmp_path: Path) -> None:
    exact = run(upper, settings(), tmp_path / "fp32")
    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = run(upper, settings(precision="bf16"), tmp_path / "bf16")
    assert mixed != exact
    assert [event.loss for event in mixed] == pytest.approx([event.loss for event in exact], rel=0.02)
    assert {value.dtype for value in state_of(tmp_path / "bf16")["unet"].values()} == {torch.float32}


def test_a_network_learns_the_one_picture_that_there_is(
    tiny_stage: Stage, tmp_path: Path, generators: Callable[..., list[torch.Generator]]
) -> None:
    config = tiny_stage({"dim_mults": (1,)}, sampling=SamplingConfig(20, "ddim"))
    training = settings(steps=150, batch_size=8, learning_rate=1e-2, ema_decay=0.9)
    losses = [event.loss for event in run(config, training, tmp_path, examples=OneColour())]
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])
    unet, steps = load_trained(tmp_path / "state.pt", config)
    assert steps == 150
    images = sample_stage(unet, config, generators=generators(0, 1, 2, 3))
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), OneColour.colour, atol=0.05, rtol=0)


def test_one_data_set_of_large_pictures_serves_every_stage(tiny_stage: Stage, tmp_path: Path) -> None:
    class Larger(OneColour):
        def __getitem__(self, draw: int) -> Drawn:
            return {"image": super().__getitem__(draw)["image"].repeat(1, 2, 2)}

    config, training = tiny_stage(), TrainingConfig(steps=2, batch_size=1)
    same = [event.loss for event in train_stage(config, training, OneColour(), tmp_path / "same", device="cpu")]
    larger = [event.loss for event in train_stage(config, training, Larger(), tmp_path / "larger", device="cpu")]
    assert larger == pytest.approx(same, rel=1e-5)


def test_pictures_smaller_than_the_stage_are_refused(tiny_stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wanted square images of 64 px or more, got 16 x 16"):
        next(
            train_stage(
                tiny_stage(image_px=64), TrainingConfig(steps=1, batch_size=1), RandomPictures(), tmp_path, device="cpu"
            )
        )
