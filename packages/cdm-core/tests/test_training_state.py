import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import cdm_core.training.state
from cdm_core import CheckpointError, SamplingConfig, StageConfig
from cdm_core.config_file import dump_config
from cdm_core.training.loop import train_stage
from cdm_core.training.running_mean import _pull, update_ema
from cdm_core.training.state import is_same_training, load_trained

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 2e-3}, "training.learning_rate = 0.001, not 0.002"),
        ({"batch_size": 4}, "training.batch_size = 2, not 4"),
        ({"steps": 7}, "training.steps = 6, not 7"),
        ({"max_grad_norm": math.inf}, r"training.max_grad_norm = 1.0, not inf"),
    ],
)
def test_a_state_of_other_settings_is_refused(
    upper: StageConfig, tmp_path: Path, runs: Any, changes: dict[str, Any], named: str
) -> None:
    runs.train(upper, tmp_path, stop=1)
    with pytest.raises(CheckpointError, match=named):
        runs.train(upper, tmp_path, runs.settings(**changes), resume=True)


def test_settings_that_do_not_touch_the_trajectory_may_change(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=4)
    changed = runs.settings(
        chunk_size=1, log_every=3, checkpoint_every=2, sample_every=5, validate_every=2, validation_images=3
    )
    assert [event.step for event in runs.train(upper, tmp_path, changed, resume=True)] == [5, 6]


def test_a_state_of_another_stage_is_refused(upper: StageConfig, tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=1)
    other = tiny_stage(
        {"cond_images_channels": 1, "dim": 16, "dim_mults": (1,)},
        image_px=16,
        lowres_px=8,
        objective="x0",
        sampling=upper.sampling,
    )
    with pytest.raises(CheckpointError, match=r"stage\.objective = v, not x0"):
        runs.train(other, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"stage\.objective = v, not x0"):
        load_trained(tmp_path / "state.pt", other)


def test_the_setting_that_differs_is_named_and_not_its_table(
    upper: StageConfig, tiny_stage: Stage, tmp_path: Path, runs: Any
) -> None:
    runs.train(upper, tmp_path, stop=1)
    wider = tiny_stage(
        {"cond_images_channels": 1, "dim": 24, "dim_mults": (1,)},
        image_px=16,
        lowres_px=8,
        sampling=SamplingConfig(1, "ddim"),
    )
    with pytest.raises(CheckpointError, match=r"started with stage\.unet\.dim = 16, not 24; use the same setting"):
        runs.train(wider, tmp_path, resume=True)


def test_a_run_without_a_limit_on_gradients_goes_on_without(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(max_grad_norm=math.inf)
    runs.train(upper, tmp_path, training, stop=1)
    assert len(runs.train(upper, tmp_path, training, resume=True)) == 5


def as_of_an_older_version(path: Path) -> None:
    """Settings that there were not, an optimiser that was not fused, moments that lay otherwise in memory."""
    values = torch.load(path, weights_only=True)
    values["stage"] = {name: values["stage"][name] for name in ("image_px", "unet", "lowres_px", "sampling")}
    old = ("steps", "batch_size", "learning_rate", "warmup_steps", "log_every", "seed")
    values["training"] = {name: values["training"][name] for name in old}
    for group in values["optimiser"]["param_groups"]:
        group["fused"] = None
    for moments in values["optimiser"]["state"].values():
        moments.update({name: value.contiguous() for name, value in moments.items()})
    del values["tally"], values["restored"]
    torch.save(values, path)


@pytest.mark.usefixtures("unchecked")
def test_a_state_of_an_older_version_goes_on_with_defaults(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    straight, older = tmp_path / "straight", tmp_path / "older"
    examples = runs.pictures(broken=range(1, 2))
    whole = runs.train(upper, straight, examples=examples)
    runs.train(upper, older, examples=examples, stop=3)
    as_of_an_older_version(older / "state.pt")
    assert load_trained(older / "state.pt", upper)[1] == 3
    with pytest.raises(CheckpointError, match=r"training\.ema_decay = 0\.999, not 0\.5"):
        runs.train(upper, older, runs.settings(ema_decay=0.5), resume=True)
    assert runs.train(upper, older, examples=examples, resume=True) == whole[3:]
    for part in ("unet", "ema"):
        runs.assert_same(dict(runs.state(straight)[part]), dict(runs.state(older)[part]))


def test_a_state_with_an_unknown_setting_is_refused(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    runs.train(upper, tmp_path, stop=1)
    values = runs.state(tmp_path)
    values["training"]["momentum"] = 0.9
    torch.save(values, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"of another version \(training: unknown key 'momentum'"):
        runs.train(upper, tmp_path, resume=True)


def test_the_running_mean_is_that_of_torch_with_a_warm_up() -> None:
    def averaging(decay: float) -> Callable[..., None]:
        def average(averaged: Any, current: Any, n: Any) -> None:
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + float(n)) / (10 + float(n))))

        return torch.no_grad()(average)

    layer, finite = nn.Linear(3, 2), torch.tensor(True)
    expected, averaged = AveragedModel(layer, multi_avg_fn=averaging(0.4)), AveragedModel(layer)

    def move(finite: torch.Tensor) -> None:
        update_ema([*averaged.module.parameters()], [*layer.parameters()], averaged.n_averaged, 0.4, finite)

    for _ in range(12):  # from its sixth step on the warm-up is past the decay
        nn.init.normal_(layer.weight)
        expected.update_parameters(layer)
        move(finite)
        torch.testing.assert_close(averaged.module.weight, expected.module.weight)
    before = averaged.module.weight.clone()
    nn.init.normal_(layer.weight)
    move(~finite)
    assert torch.equal(averaged.module.weight, before)
    assert averaged.n_averaged == expected.n_averaged == 12


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


@pytest.fixture(scope="module")
def good_state(upper: StageConfig, runs: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    runs.train(upper, folder, runs.settings(steps=1, batch_size=1))
    contents: bytes = (folder / "state.pt").read_bytes()
    return contents


@pytest.mark.parametrize("damage", [truncated, emptied, text, stray_bytes, other_tensors, a_tensor, a_pickle])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_state_is_one_line(
    upper: StageConfig, good_state: bytes, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(good_state)
    damage(path)
    with pytest.raises(CheckpointError) as caught:
        load_trained(path, upper)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "delete it to start again" in message
    assert "\n" not in message


def test_a_missing_state_is_told(upper: StageConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no training state here; train first"):
        load_trained(tmp_path / "state.pt", upper)


def test_a_state_whose_weights_do_not_fit_is_one_line(
    upper: StageConfig, good_state: bytes, tmp_path: Path, runs: Any
) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(good_state)
    values = runs.state(tmp_path)
    for part in ("unet", "ema"):
        spoilt = {name: value for name, value in values[part].items() if not name.endswith("init_conv.bias")}
        torch.save({**values, part: spoilt}, path)
        with pytest.raises(CheckpointError, match=r"^\S+: the state does not fit the network \([^\n]*\)[^\n]*$"):
            runs.train(upper, tmp_path, runs.settings(steps=1, batch_size=1), resume=True)
    with pytest.raises(CheckpointError, match="the state does not fit the network"):
        load_trained(path, upper)
    torch.save({**values, "stage": None}, path)
    with pytest.raises(CheckpointError, match="not a training state; delete it to start again"):
        load_trained(path, upper)


@pytest.mark.parametrize("wrapped", [nn.DataParallel, lambda network: torch.compile(network, backend="eager")])
def test_a_wrapped_network_is_trained_under_plain_names(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any, wrapped: Any
) -> None:
    unet = random_unet(upper)
    runs.train(upper, tmp_path, runs.settings(steps=1, learning_rate=0.0), initial=wrapped(unet))
    trained = load_trained(tmp_path / "state.pt", upper)[0].state_dict()
    assert all(trained[name].equal(value) for name, value in unet.state_dict().items())


def test_a_network_of_another_stage_or_that_is_not_finite_is_no_start(
    upper: StageConfig, tiny_stage: Stage, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    unet = random_unet(upper)
    unet.get_parameter("init_conv.bias")[0] = math.nan
    for start, message in ((random_unet(tiny_stage()), "of another network"), (unet, "values that are not finite")):
        with pytest.raises(CheckpointError, match=rf"^initial: the network for the stage of 16 px: [^\n]*{message}"):
            runs.train(upper, tmp_path / "run", initial=start)
    assert not (tmp_path / "run").exists()


def test_the_running_mean_of_a_gpu_takes_one_pass_and_is_the_same_but_for_rounding() -> None:
    weights, averages = ([torch.randn(5, 3), torch.randn(7)] for _ in range(2))
    expected = [average.lerp(weight, 0.3) for average, weight in zip(averages, weights, strict=True)]
    before = [weight.clone() for weight in weights]
    _pull(averages, weights, torch.tensor(0.3), torch.tensor(0.0))
    torch.testing.assert_close(averages, expected)
    _pull(averages, weights, torch.tensor(0.3), torch.tensor(1.0))  # the step was skipped
    torch.testing.assert_close(averages, expected)
    assert all(map(torch.equal, weights, before))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is mapped")
def test_a_state_is_read_piece_by_piece_and_let_go(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.train(upper, tmp_path, stop=2)
    path, maps, built = tmp_path / "state.pt", Path("/proc/self/maps"), []
    build = cdm_core.training.state.build_unet

    def counted(config: StageConfig) -> nn.Module:
        assert str(path) in maps.read_text()  # tensors are still in the file
        built.append(build(config))
        return built[-1]

    monkeypatch.setattr(cdm_core.training.state, "build_unet", counted)
    unet, _ = load_trained(path, upper)
    assert built == [unet]
    events = train_stage(upper, runs.settings(), runs.pictures(), tmp_path, device="cpu", resume=True)
    next(events)
    assert str(path) not in maps.read_text()  # nothing holds it: it may be replaced
    events.close()  # type: ignore[attr-defined]


def test_the_same_training_may_differ_in_what_does_not_touch_it(runs: Any) -> None:
    saved = {"networks": [{"level": "low", "training": dump_config(runs.settings(precision="fp32", workers=0))}]}
    wanted = {"networks": [{"level": "low", "training": dump_config(runs.settings(compile=True, sample_every=7))}]}
    assert is_same_training(saved, wanted)
    wanted["networks"][0]["training"]["seed"] = 1
    assert not is_same_training(saved, wanted)
    assert not is_same_training(saved, {"networks": []})
