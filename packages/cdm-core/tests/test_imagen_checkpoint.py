"""Files of imagen-pytorch: those that its own classes wrote, and those that they shall read."""

import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from cdm_core import (
    Cascade,
    CascadeConfig,
    CheckpointError,
    SamplingConfig,
    StageConfig,
    import_imagen_checkpoint,
    load_imagen_checkpoint,
    sample_stage,
    save_imagen_checkpoint,
)
from cdm_core.networks.family import INSTALL, family_of_version, installed_version
from cdm_core.networks.imagen_offline import imagen_module
from cdm_core.stages.build import build_unet

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:.*GradScaler:FutureWarning", "ignore:.*lr_scheduler.step:UserWarning"),
]

Generators = Callable[..., list[torch.Generator]]

SMALL = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
"""What the second stage enlarges where it is sampled alone."""


@pytest.fixture(scope="module")
def config(tiny_stage: Callable[..., StageConfig]) -> CascadeConfig:
    """Two stages that leave that library's settings as they are, but for dynamic thresholds."""
    upper = {"image_px": 16, "lowres_px": 8, "lowres_schedule": "linear", "lowres_resize": "nearest"}
    sampling = SamplingConfig(steps=4, method="ddpm", lowres_noise=0.2)
    return CascadeConfig(
        tuple(
            tiny_stage({"dim": dim}, objective=objective, sampling=sampling, **values)
            for dim, objective, values in ((8, "noise", {}), (16, "v", upper))
        )
    )


def imagen_of(config: CascadeConfig, *, null: tuple[int, ...] = ()) -> Any:
    """An `Imagen` of such stages with fresh weights; those of the given numbers are `NullUnet`s."""
    unets: list[nn.Module] = []
    for number, stage in enumerate(config.stages, start=1):
        unet = imagen_module().NullUnet() if number in null else build_unet(stage)
        unet.lowres_cond = number > 1  # the study's own NullUnets tell so, or there could be none after the first
        unets.append(unet)
    return imagen_module().Imagen(
        unets,
        image_sizes=[stage.image_px for stage in config.stages],
        timesteps=[stage.sampling.steps for stage in config.stages],
        pred_objectives=[stage.objective for stage in config.stages],
        condition_on_text=False,
        text_embed_dim=8,
        dynamic_thresholding=False,
    )


@pytest.fixture(scope="module")
def trainer_of() -> Iterator[Callable[..., Any]]:
    """Makes the library's trainer of an `Imagen`."""
    module = imagen_module("trainer")

    def make(imagen: Any) -> Any:
        return module.ImagenTrainer(
            imagen,
            lr=0.01,
            warmup_steps=2,
            cosine_decay_max_steps=10,
            ema_beta=0.5,
            ema_update_every=1,
            ema_update_after_step=0,
            accelerate_cpu=True,
        )

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)  # what comes after in this process has its own


@dataclass(frozen=True)
class Trained:
    """A file for each stage, and what the library samples with it."""

    paths: list[Path]
    ema: list[Tensor]
    raw: list[Tensor]


@pytest.fixture(scope="module")
def trained(config: CascadeConfig, trainer_of: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Both stages trained as the study did: by `ImagenTrainer`, one U-Net at a time, the other a `NullUnet`."""
    folder = tmp_path_factory.mktemp("trained")
    result = Trained([folder / "first.pt", folder / "second.pt"], [], [])
    for number, path in enumerate(result.paths, start=1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            trainer = trainer_of(imagen_of(config, null=(3 - number,)))
            for _ in range(3 + number):
                trainer(torch.rand(4, 3, 16, 16), unet_number=number, max_batch_size=4)
                if hasattr(optimiser := getattr(trainer, f"optim{number - 1}"), "optimizer"):
                    # accelerate's, with which the trainer of 1.18.5 fails
                    setattr(trainer, f"optim{number - 1}", optimiser.optimizer)
                trainer.update(unet_number=number)
            trainer.save(path)
            for images, raw in ((result.ema, False), (result.raw, True)):
                images.append(sampled_by_library(trainer, number, use_non_ema=raw))
    return result


@pytest.fixture
def checkpoint(trained: Trained) -> dict[str, Any]:
    """What the first trainer's file holds, to change."""
    values: dict[str, Any] = torch.load(trained.paths[0], weights_only=True)
    return values


@pytest.fixture
def refusal(config: CascadeConfig, tmp_path: Path) -> Callable[..., str]:
    """Saves what it is given as the file of the first stage, and returns what the import says."""

    def refuse(values: object, **options: Any) -> str:
        path = tmp_path / "changed.pt"
        if isinstance(values, bytes):
            path.write_bytes(values)
        else:
            torch.save(values, path)
        with pytest.raises(CheckpointError) as caught:
            load_imagen_checkpoint(path, CascadeConfig(config.stages[:1]), **options)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refuse


def sampled_by_library(model: Any, number: int, **options: Any) -> Tensor:
    """What an `Imagen` or its trainer makes in one stage."""
    alone = {"stop_at_unet_number": 1} if number == 1 else {"start_at_unet_number": 2, "start_image_or_video": SMALL}
    torch.manual_seed(5)
    images: Tensor = model.sample(batch_size=1, use_tqdm=False, **alone, **options)
    return images


def sampled_alone(cascade: Cascade, generators: Generators) -> list[Tensor]:
    lowres = (None, SMALL)
    return [
        sample_stage(unet, stage, generators=generators(5), lowres=lowres[i])
        for i, (unet, stage) in enumerate(zip(cascade.unets, cascade.config.stages, strict=True))
    ]


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_an_imported_cascade_makes_the_images_of_its_trainer(
    config: CascadeConfig, trained: Trained, generators: Generators, weights: Any
) -> None:
    cascade = load_imagen_checkpoint(trained.paths, config, weights=weights)
    wanted = {"ema": trained.ema, "raw": trained.raw}
    for i, images in enumerate(sampled_alone(cascade, generators)):
        torch.testing.assert_close(images, wanted[weights][i], atol=1e-4, rtol=0)
        assert images.std() > 0.05
        assert (trained.ema[i] - trained.raw[i]).abs().max() > 1e-2


def test_an_imported_cascade_tells_where_it_comes_from(config: CascadeConfig, trained: Trained) -> None:
    cascade = load_imagen_checkpoint(trained.paths, config)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in trained.paths]
    assert cascade.provenance == {
        "imported_from": "imagen-pytorch",
        "weights": "ema",
        "stage_1_file": "first.pt",
        "stage_1_sha256": digests[0],
        "stage_1_unet": 1,
        "stage_1_version": installed_version(),
        "stage_1_steps": 4,
        "stage_2_file": "second.pt",
        "stage_2_sha256": digests[1],
        "stage_2_unet": 2,
        "stage_2_version": installed_version(),
        "stage_2_steps": 5,
    }


def test_an_imported_cascade_is_saved_and_loaded(
    config: CascadeConfig, trained: Trained, generators: Generators, tmp_path: Path
) -> None:
    cascade = load_imagen_checkpoint(trained.paths, config)
    cascade.save(tmp_path)
    loaded = Cascade.load(tmp_path)
    assert loaded.provenance == cascade.provenance
    torch.testing.assert_close(loaded.sample(generators(0)), cascade.sample(generators(0)), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_folder_is_written_without_the_whole_cascade_in_memory(
    config: CascadeConfig, trained: Trained, tmp_path: Path, dtype: torch.dtype
) -> None:
    cascade = load_imagen_checkpoint(trained.paths, config)
    cascade.save(tmp_path / "saved", dtype=dtype)
    origins = list(import_imagen_checkpoint(trained.paths, config, tmp_path / "imported", dtype=dtype))
    assert [(each["file"], each["unet"], each["steps"]) for each in origins] == [
        ("first.pt", 1, 4),
        ("second.pt", 2, 5),
    ]
    saved, imported = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("saved", "imported")
    )
    assert imported == saved


def test_weights_too_large_for_half_precision_are_told(
    config: CascadeConfig, checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint["ema"]["0.ema_model.init_conv.bias"].fill_(1e6)
    torch.save(checkpoint, tmp_path / "large.pt")
    first = CascadeConfig(config.stages[:1])
    list(import_imagen_checkpoint(tmp_path / "large.pt", first, tmp_path / "single"))
    with pytest.raises(CheckpointError, match=r"8 px: tensor 'init_conv.bias' has values .* not finite in float16"):
        list(import_imagen_checkpoint(tmp_path / "large.pt", first, tmp_path / "half", dtype=torch.float16))
    assert not (tmp_path / "half").exists()


def test_an_upscaler_is_imported_without_what_comes_before(
    config: CascadeConfig, trained: Trained, generators: Generators
) -> None:
    cascade = load_imagen_checkpoint(trained.paths[1], CascadeConfig(config.stages[1:]))
    assert cascade.provenance["stage_1_unet"] == 2
    (found,) = cascade.sample(generators(5), lowres=SMALL)
    torch.testing.assert_close(found, trained.ema[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("only_model", [True, False])
def test_an_exported_cascade_is_taken_by_the_trainer(
    config: CascadeConfig,
    trained: Trained,
    trainer_of: Callable[..., Any],
    generators: Generators,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    only_model: bool,
) -> None:
    cascade = load_imagen_checkpoint(trained.paths, config)
    save_imagen_checkpoint(cascade, tmp_path / "exported.pt")
    trainer = trainer_of(imagen_of(config))
    trainer.load(tmp_path / "exported.pt", only_model=only_model)
    assert "partial" not in capsys.readouterr().out  # what the trainer says when tensors do not fit
    assert trainer.steps.tolist() == ([0, 0] if only_model else [4, 5])
    for number, images in enumerate(sampled_alone(cascade, generators), start=1):
        wanted = sampled_by_library(trainer, number, use_non_ema=only_model)
        torch.testing.assert_close(images, wanted, atol=1e-4, rtol=0)


def test_an_exported_cascade_is_taken_by_an_imagen(cascade: Cascade, generators: Generators, tmp_path: Path) -> None:
    save_imagen_checkpoint(cascade, tmp_path / "exported.pt")
    imagen = imagen_of(cascade.config)
    values = torch.load(tmp_path / "exported.pt", weights_only=True)
    imagen.load_state_dict(values["model"])
    assert values["version"] == installed_version()
    assert values["steps"].tolist() == [0, 0]
    wanted = sampled_by_library(imagen, 1)
    torch.testing.assert_close(sampled_alone(cascade, generators)[0], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("first", [0, 1])
def test_an_export_is_imported_again(cascade: Cascade, generators: Generators, tmp_path: Path, first: int) -> None:
    part = Cascade(CascadeConfig(cascade.config.stages[first:]), cascade.unets[first:])
    save_imagen_checkpoint(part, tmp_path / "exported.pt")
    again = load_imagen_checkpoint(tmp_path / "exported.pt", part.config)
    lowres = SMALL if first else None
    found, wanted = (each.sample(generators(0), lowres=lowres) for each in (again, part))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    if first:  # an Imagen wants a U-Net before one that enlarges
        model = torch.load(tmp_path / "exported.pt", weights_only=True)["model"]
        imagen_of(cascade.config, null=(1,)).load_state_dict(model)


def test_an_interrupted_export_leaves_no_file(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_values: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"exported.pt: cannot be written \(.*No space left"):
        save_imagen_checkpoint(cascade, tmp_path / "exported.pt")
    assert not list(tmp_path.iterdir())


def bare_files(folder: Path, unet: Any) -> list[Path]:
    unet.persist_to_file(folder / "persisted.pt")
    torch.save(unet.state_dict(), folder / "unet.pt")
    torch.save({f"unets.0.{name}": value for name, value in unet.state_dict().items()}, folder / "imagen.pt")
    old = {"_use_new_zipfile_serialization": False}
    torch.save(unet.state_dict(), folder / "old.pt", **old)
    return sorted(folder.iterdir())


def test_weights_without_a_trainer_are_raw(config: CascadeConfig, tmp_path: Path) -> None:
    stage, unet = CascadeConfig(config.stages[:1]), build_unet(config.stages[0])
    for path in bare_files(tmp_path, unet):
        with pytest.raises(CheckpointError, match=r"no running means .* of U-Net 1; ask for its raw weights"):
            load_imagen_checkpoint(path, stage)
        cascade = load_imagen_checkpoint(path, stage, weights="raw")
        assert set(cascade.provenance) == {
            "imported_from", "weights", "stage_1_file", "stage_1_sha256", "stage_1_unet"
        }  # fmt: skip
        torch.testing.assert_close(cascade.unets[0].state_dict(), unet.state_dict(), rtol=0, atol=0)


def test_an_imagens_state_is_imported(config: CascadeConfig, tmp_path: Path) -> None:
    imagen = imagen_of(config)
    torch.save(imagen.state_dict(), tmp_path / "imagen.pt")
    cascade = load_imagen_checkpoint(tmp_path / "imagen.pt", config, weights="raw")
    for found, wanted in zip(cascade.unets, imagen.unets, strict=True):
        torch.testing.assert_close(found.state_dict(), wanted.state_dict(), rtol=0, atol=0)


def test_files_come_in_the_order_of_the_stages(config: CascadeConfig, trained: Trained) -> None:
    same = CascadeConfig((config.stages[0],))
    with pytest.raises(CheckpointError, match=r"first.pt: has U-Net 1, .*second.pt before it U-Net 2; give the files"):
        load_imagen_checkpoint(trained.paths[::-1], config)
    with pytest.raises(CheckpointError, match=r"second.pt: U-Net 2 .* tensor .* the weights are of another network"):
        load_imagen_checkpoint(trained.paths[1], same)


def test_of_several_networks_one_is_asked_for(config: CascadeConfig, tmp_path: Path) -> None:
    path, first, second = tmp_path / "both.pt", CascadeConfig(config.stages[:1]), CascadeConfig(config.stages[1:])
    torch.save(imagen_of(config).state_dict(), path)
    for other in (first, second):
        with pytest.raises(CheckpointError, match=r"both.pt: has U-Nets 1, 2, wanted 1: .* or `numbers`"):
            load_imagen_checkpoint(path, other, weights="raw")
    assert load_imagen_checkpoint(path, second, weights="raw", numbers=[2]).provenance["stage_1_unet"] == 2
    assert load_imagen_checkpoint([path, path], config, weights="raw").provenance["stage_2_unet"] == 2
    with pytest.raises(CheckpointError, match=r"both.pt: has no U-Net 3"):
        load_imagen_checkpoint(path, second, weights="raw", numbers=[3])


def test_there_is_a_file_for_each_stage(config: CascadeConfig, trained: Trained) -> None:
    with pytest.raises(ValueError, match="one for each of 2 stages, got 3"):
        load_imagen_checkpoint([trained.paths[0]] * 3, config)
    with pytest.raises(ValueError, match="a U-Net for each of 2 stages, got 1"):
        load_imagen_checkpoint(trained.paths, config, numbers=[1])
    with pytest.raises(ValueError, match="weights are 'ema' or 'raw', got 'EMA'"):
        load_imagen_checkpoint(trained.paths, config, weights="EMA")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"first.pt: has U-Nets 1, wanted 2"):
        load_imagen_checkpoint(trained.paths[0], config)


class Hostile:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "written")


def test_nothing_in_a_file_is_executed(checkpoint: dict[str, Any], refusal: Callable[..., str], tmp_path: Path) -> None:
    target = tmp_path / "written"
    hostile = Hostile(target)
    pickle.loads(pickle.dumps(hostile))  # noqa: S301
    assert target.exists()  # so the attack would work
    target.unlink()
    for values in (hostile, checkpoint | {"optim0": hostile}, {"model": hostile}):
        message = refusal(values)
        assert "not opened, it has " in message
        assert "beside tensors and plain values, which could run code" in message
    refusal(pickle.dumps(hostile))
    assert not target.exists()


def test_what_trainers_save_beside_tensors_is_plain(
    config: CascadeConfig, checkpoint: dict[str, Any], tmp_path: Path
) -> None:
    assert {"optim0", "scaler0", "scheduler0", "warmup0"} <= checkpoint.keys()  # of the trainer above
    scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    more = {"scaler0": scaler, "imagen_type": "original", "imagen_params": {"unets": ({"dim": 8},), "video": False}}
    torch.save(checkpoint | more, tmp_path / "more.pt")
    load_imagen_checkpoint(tmp_path / "more.pt", CascadeConfig(config.stages[:1]))


def test_a_file_written_on_a_gpu_is_read_without_one(
    config: CascadeConfig, checkpoint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:0")
    torch.save(checkpoint, tmp_path / "cuda.pt")
    monkeypatch.undo()
    assert b"cuda:0" in (tmp_path / "cuda.pt").read_bytes()
    cascade = load_imagen_checkpoint(tmp_path / "cuda.pt", CascadeConfig(config.stages[:1]))
    assert cascade.device.type == "cpu"


@pytest.mark.parametrize("steps", [torch.tensor([0.5]), torch.tensor([1]).to_sparse(), torch.tensor([]), "many", None])
def test_steps_that_are_no_numbers_are_not_told(
    config: CascadeConfig, checkpoint: dict[str, Any], tmp_path: Path, steps: object
) -> None:
    torch.save(checkpoint | {"steps": steps}, tmp_path / "odd.pt")
    cascade = load_imagen_checkpoint(tmp_path / "odd.pt", CascadeConfig(config.stages[:1]))
    assert "stage_1_steps" not in cascade.provenance


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(trained: Trained, refusal: Callable[..., str], kept: float) -> None:
    data = trained.paths[0].read_bytes()
    assert "not a whole checkpoint" in refusal(data[: int(kept * len(data)) if isinstance(kept, float) else kept])


def test_a_flipped_bit_is_found(trained: Trained, refusal: Callable[..., str]) -> None:
    data = bytearray(trained.paths[0].read_bytes())
    data[len(data) // 2] ^= 1
    assert "damaged, the checksum of 'archive/data/" in refusal(bytes(data))


@pytest.mark.parametrize(
    "values",
    [b"text", b"\0" * 1000, [1], {1: torch.zeros(1)}, {}, {"model": 3}, {"model": {}}, {"model": {"unets.0.a": 3}}],
)
def test_another_file_is_refused(refusal: Callable[..., str], values: object) -> None:
    message = refusal(values)
    assert "not a checkpoint" in message or "not a whole checkpoint" in message


def test_a_missing_file_is_refused(config: CascadeConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.pt: cannot be read \(No such file"):
        load_imagen_checkpoint([tmp_path / "none.pt"] * 2, config)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Is a directory"):
        load_imagen_checkpoint(tmp_path, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("0.ema_model.init_conv.weight"), "tensor 'init_conv.weight' is missing"),
        (lambda t: t.update({"0.ema_model.extra": torch.zeros(1)}), "tensor 'extra' is not the network's"),
        (lambda t: t.update({"0.ema_model.init_conv.bias": torch.zeros(5)}), "tensor 'init_conv.bias' is (5,), the"),
        (lambda t: t["0.ema_model.init_conv.bias"].fill_(torch.nan), "tensor 'init_conv.bias' has values that are not"),
        (lambda t: t.update({"0.ema_model.init_conv.bias": torch.zeros(8).int()}), "'init_conv.bias' is not one of"),
        (lambda t: t.update({"0.ema_model.init_conv.bias": torch.zeros(8).to_sparse()}), "is not one of plain numbers"),
        (
            lambda t: t.update({"0.ema_model.init_conv.bias": 3}),
            "'0.ema_model.init_conv.bias' in 'ema' is not a tensor",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    checkpoint: dict[str, Any], refusal: Callable[..., str], change: Callable[[Any], object], message: str
) -> None:
    change(checkpoint["ema"])
    assert message in refusal(checkpoint)


def test_a_tensor_of_no_network_is_named(checkpoint: dict[str, Any], refusal: Callable[..., str]) -> None:
    checkpoint["model"]["text_encoder\n.weight"] = torch.zeros(1)
    assert r"tensor 'text_encoder\n.weight' in 'model' does not belong to any U-Net" in refusal(checkpoint)


def renamed(tensors: dict[str, Tensor], to_family: str) -> dict[str, Tensor]:
    """What the names of the tensors would be in another family: norms, and scales of queries and keys."""
    ours = {"1": "groupnorm.weight", "1.22": "groupnorm.weight", "2": "norm.gamma"}
    old, new = ours[family_of_version(installed_version()) or ""], ours[to_family]
    changed = {name.replace(f"block1.{old}", f"block1.{new}"): value for name, value in tensors.items()}
    if to_family == "1":
        return {name: value for name, value in changed.items() if not name.endswith("q_scale")}
    return changed | {"0.ema_model.attn_pool.q_scale": torch.ones(8)}


@pytest.mark.parametrize(("family", "version"), [("1", "1.18.5"), ("1.22", "1.25.6"), ("2", "2.1.0")])
def test_a_file_of_another_family_tells_which_version_to_install(
    checkpoint: dict[str, Any], refusal: Callable[..., str], family: str, version: str
) -> None:
    if family == family_of_version(installed_version()):
        pytest.skip("the one that is installed")
    wanted = f"networks of imagen-pytorch {family}, which are not those of {installed_version()}, which is installed; "
    wanted += f"run: pip install '{INSTALL[family]}'"
    by_tensors = checkpoint | {"ema": renamed(checkpoint["ema"], family)}
    assert wanted in refusal(by_tensors)
    assert wanted in refusal(checkpoint | {"version": version})


def test_an_exported_file_is_not_overwritten_unasked(config: CascadeConfig, trained: Trained, tmp_path: Path) -> None:
    cascade, path = load_imagen_checkpoint(trained.paths, config), tmp_path / "exported.pt"
    path.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"exported\.pt: exists; pass overwrite=True to replace it"):
        save_imagen_checkpoint(cascade, path)
    assert path.read_bytes() == b"mine"
    save_imagen_checkpoint(cascade, path, overwrite=True)
    load_imagen_checkpoint(path, config)


def test_a_model_is_not_overwritten_by_an_import(config: CascadeConfig, trained: Trained, tmp_path: Path) -> None:
    list(import_imagen_checkpoint(trained.paths, config, tmp_path))
    with pytest.raises(CheckpointError, match="holds a model; pass overwrite=True"):
        list(import_imagen_checkpoint(trained.paths, config, tmp_path))
    list(import_imagen_checkpoint(trained.paths, config, tmp_path, overwrite=True))


@pytest.mark.parametrize("where", ["{}{}", "unets.0.{}{}", "{}unets.0.{}"])
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_names_of_compiled_and_data_parallel_networks_are_read(
    tiny_stage: Callable[..., StageConfig], tmp_path: Path, prefix: str, where: str
) -> None:
    stage = tiny_stage()
    weights = build_unet(stage).state_dict()
    named = {where.format(prefix, name): value for name, value in weights.items()}
    torch.save(named, tmp_path / "unet.pt")
    loaded = load_imagen_checkpoint(tmp_path / "unet.pt", CascadeConfig((stage,)), weights="raw").unets[0].state_dict()
    assert loaded.keys() == weights.keys()
    assert all(loaded[name].equal(value) for name, value in weights.items())
    named.pop(where.format(prefix, "init_conv.weight"))
    torch.save(named, tmp_path / "unet.pt")
    with pytest.raises(CheckpointError) as refused:
        load_imagen_checkpoint(tmp_path / "unet.pt", CascadeConfig((stage,)), weights="raw")
    assert all(part in str(refused.value) for part in ("'init_conv.weight' is missing", *prefix.split(".")))


def test_a_checkpoint_with_both_kinds_of_names_is_refused(
    tiny_stage: Callable[..., StageConfig], tmp_path: Path
) -> None:
    weights = build_unet(tiny_stage()).state_dict()
    torch.save({**weights, "module.init_conv.bias": weights["init_conv.bias"]}, tmp_path / "unet.pt")
    with pytest.raises(CheckpointError, match="has tensors both with and without _orig_mod or module in their names"):
        load_imagen_checkpoint(tmp_path / "unet.pt", CascadeConfig((tiny_stage(),)), weights="raw")
