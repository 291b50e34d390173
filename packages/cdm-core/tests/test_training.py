import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cdm_core import CheckpointError, ConfigError, SamplingConfig, StageConfig, TrainingConfig
from cdm_core.stages.stage import sample_stage
from cdm_core.training.loop import train_stage
from cdm_core.training.state import load_trained

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Drawn = dict[str, Tensor]


class OneColour:
    """The same picture always."""

    colour = torch.tensor([0.8, 0.3, 0.5])

    def __getitem__(self, draw: int) -> Drawn:
        return {"image": self.colour.reshape(3, 1, 1).expand(3, 8, 8).clone()}


@pytest.fixture(scope="module")
def straight(upper: StageConfig, runs: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The folder of an undisturbed run, and its events."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, runs.train(upper, folder)


@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_run_goes_on_along_the_same_trajectory(
    upper: StageConfig, straight: tuple[Path, list[Any]], tmp_path: Path, runs: Any, stop: int
) -> None:
    folder, whole = straight
    parts = runs.train(upper, tmp_path, stop=stop) + runs.train(upper, tmp_path, resume=True)
    assert parts == whole
    assert [event.step for event in whole] == [1, 2, 3, 4, 5, 6]
    runs.assert_same(runs.state(folder), runs.state(tmp_path))
    assert runs.log(folder) == runs.log(tmp_path)


def test_a_killed_run_repeats_the_steps_since_its_last_state(
    upper: StageConfig, straight: tuple[Path, list[Any]], tmp_path: Path, runs: Any
) -> None:
    runs.train(upper, tmp_path, stop=3)
    state = (tmp_path / "state.pt").read_bytes()
    runs.train(upper, tmp_path, stop=2, resume=True)
    (tmp_path / "state.pt").write_bytes(state)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')  # killed while it wrote
    runs.train(upper, tmp_path, resume=True)
    runs.assert_same(runs.state(straight[0]), runs.state(tmp_path))
    assert runs.log(straight[0]) == runs.log(tmp_path)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_do_not_change_the_trajectory(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    none, one = (runs.train(upper, tmp_path / str(n), runs.settings(steps=2, workers=n)) for n in (0, 1))
    assert none == one


def test_the_seed_decides_the_trajectory(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    first, same, other = (
        runs.train(upper, tmp_path / str(i), runs.settings(steps=2, seed=seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert first == same
    assert first != other


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_not_replaced_by_the_same_script_run_again(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=2)
    before = contents(tmp_path)
    line = r"holds a training run \(state\.pt\); pass resume=True to go on with it, or use another folder$"
    with pytest.raises(CheckpointError, match=line):
        runs.train(upper, tmp_path, stop=1)
    (tmp_path / "state.pt").unlink()
    with pytest.raises(CheckpointError, match=r"holds a training run \(log\.jsonl\)"):  # killed before its first state
        runs.train(upper, tmp_path, stop=1)
    assert contents(tmp_path) == {path: data for path, data in before.items() if path.name != "state.pt"}
    runs.train(upper, tmp_path, stop=1, resume=True)
    assert [line["step"] for line in runs.log(tmp_path)] == [1]


def test_a_second_run_in_a_folder_at_work_is_refused(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    first = train_stage(upper, runs.settings(), runs.pictures(), tmp_path / "run", device="cpu")
    next(first)
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=rf"a run is at work here \(process {os.getpid()} on .*\); wait"):
            runs.train(upper, tmp_path / "run", resume=resume)
    first.close()  # type: ignore[attr-defined]
    assert [event.step for event in runs.train(upper, tmp_path / "run", stop=1, resume=True)] == [2]
    assert not list((tmp_path / "run").glob(".*"))


def test_a_folder_that_cannot_be_one_is_refused_in_one_line(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no-such")):
        with pytest.raises(CheckpointError, match=rf"^{folder}: cannot be written \(.*\); use another folder$"):
            runs.train(upper, folder)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples").touch()
    with pytest.raises(CheckpointError, match=r"samples: is a file, wanted a folder"):
        runs.train(upper, tmp_path / "run")


def test_a_finished_run_has_nothing_to_resume(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, runs.settings(steps=2))
    assert runs.train(upper, tmp_path, runs.settings(steps=2), resume=True) == []


def test_closing_the_iterator_early_saves_the_state(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=2)
    assert runs.state(tmp_path)["step"] == 2
    assert load_trained(tmp_path / "state.pt", upper)[1] == 2


def test_training_can_start_from_a_network(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    unet = random_unet(upper)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    runs.train(upper, tmp_path, runs.settings(steps=1, learning_rate=0.0), initial=unet)
    trained, _ = load_trained(tmp_path / "state.pt", upper)
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_network_to_start_from_is_left_alone(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    unet = random_unet(upper)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    runs.train(upper, tmp_path, runs.settings(steps=2), initial=unet)
    runs.assert_same(dict(unet.state_dict()), before)
    assert not any(parameter.requires_grad for parameter in unet.parameters())


def test_sheets_show_real_images_above_samples(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, runs.settings(steps=5, sample_every=2))
    sheets = sorted((tmp_path / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["0000002.png", "0000004.png", "0000005.png"]
    with Image.open(sheets[0]) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 16, 6 * 16, 3)
    real = torch.cat([runs.pictures()[i]["image"] for i in range(6)], dim=2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(pixels[:16], real * 255, atol=0.51)


def test_the_learning_rate_warms_up_and_falls(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, runs.settings(steps=8, warmup_steps=4, log_every=2))
    lines = runs.log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    rates = [line["learning_rate"] for line in lines]
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3 * 0.853553, 1e-3 * 0.146447], rel=1e-4)


def test_the_learning_rate_may_stay(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, runs.settings(learning_rate_decay="none"))
    assert [line["learning_rate"] for line in runs.log(tmp_path)] == [5e-4] + [1e-3] * 5


def test_weight_decay_draws_weights_towards_zero(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    unet = random_unet(upper)
    options = {"steps": 1, "warmup_steps": 0}
    for decay in (0.0, 0.5):
        runs.train(upper, tmp_path / str(decay), runs.settings(weight_decay=decay, **options), initial=unet)
    plain, decayed = (runs.state(tmp_path / str(decay))["unet"] for decay in (0.0, 0.5))
    for name, parameter in unet.named_parameters():
        if not name.startswith(("attn_pool", "null_text")):  # those are not used, and stay
            torch.testing.assert_close(plain[name] - decayed[name], 1e-3 * 0.5 * parameter, atol=1e-6, rtol=1e-3)


def test_a_run_may_have_another_precision_than_the_one_before(
    upper: StageConfig, straight: tuple[Path, list[Any]], tmp_path: Path, runs: Any
) -> None:
    exact = straight[1]
    mixed = runs.train(upper, tmp_path, runs.settings(precision="bf16"))
    assert mixed != exact
    assert [event.loss for event in mixed] == pytest.approx([event.loss for event in exact], rel=0.02)
    assert {value.dtype for value in runs.state(tmp_path)["unet"].values()} == {torch.float32}


def test_a_network_learns_the_one_picture_that_there_is(
    tiny_stage: Stage, tmp_path: Path, runs: Any, generators: Callable[..., list[torch.Generator]]
) -> None:
    config = tiny_stage({"dim_mults": (1,)}, sampling=SamplingConfig(20, "ddim"))
    training = runs.settings(steps=150, batch_size=8, learning_rate=1e-2, ema_decay=0.9)
    losses = [event.loss for event in runs.train(config, tmp_path, training, examples=OneColour())]
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])
    unet, steps = load_trained(tmp_path / "state.pt", config)
    assert steps == 150
    images = sample_stage(unet, config, generators=generators(0, 1, 2, 3))
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), OneColour.colour, atol=0.05, rtol=0)


def test_one_data_set_of_large_pictures_serves_every_stage(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    class Larger(OneColour):
        def __getitem__(self, draw: int) -> Drawn:
            return {"image": super().__getitem__(draw)["image"].repeat(1, 2, 2)}

    config, training = tiny_stage(), TrainingConfig(steps=2, batch_size=1)
    same = [event.loss for event in train_stage(config, training, OneColour(), tmp_path / "same", device="cpu")]
    larger = [event.loss for event in train_stage(config, training, Larger(), tmp_path / "larger", device="cpu")]
    assert larger == pytest.approx(same, rel=1e-5)


def test_pictures_smaller_than_the_stage_are_refused(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    with pytest.raises(ValueError, match="wanted square images of 64 px or more, got 16 x 16"):
        runs.train(tiny_stage(image_px=64), tmp_path)


def test_crops_larger_than_the_stage_are_refused(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    with pytest.raises(ConfigError, match="crop_px 32 is over the stage's image_px 16"):
        runs.train(upper, tmp_path / "run", runs.settings(crop_px=32))
    assert not (tmp_path / "run").exists()


def test_the_network_is_compiled_in_place(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled.append(type(self).__name__))
    runs.train(upper, tmp_path / "plain", runs.settings(steps=1))
    assert not compiled
    runs.train(upper, tmp_path / "compiled", runs.settings(steps=1, compile=True))
    assert compiled == ["Unet"]
    assert runs.state(tmp_path / "compiled")["unet"].keys() == runs.state(tmp_path / "plain")["unet"].keys()
