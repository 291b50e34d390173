"""Sampling and training on a pretended GPU: nothing mixes devices, and no step waits for the device."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from cdm_core import (
    Cascade,
    CascadeConfig,
    Conditions,
    SamplingConfig,
    StageConfig,
    TrainingConfig,
    build_unet,
    sample_stage,
)
from cdm_core.distillation.finishing import Finisher, FinishingConfig
from cdm_core.distillation.teacher import DistillationMethod, student_of
from cdm_core.stages.denoiser import dynamic_threshold
from cdm_core.stages.inference import prepare_for_sampling
from cdm_core.stages.pictures import to_uint8
from cdm_core.testing import pretended_autograd
from cdm_core.testing.pretended_cuda import GpuRecord, pretended_cuda
from cdm_core.testing.tiny import tiny_latent_unet
from cdm_core.training.loop import train_stage
from cdm_core.training.students import distill_stage

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Generators = Callable[..., list[torch.Generator]]
CUDA, BF16 = torch.device("cuda"), torch.bfloat16
ATTENDING = {"dim_mults": (1,), "layer_attns": True, "layer_cross_attns": True, "init_conv_kernel_size": 3}
FEW = SamplingConfig(2, "dpmpp_2m", lowres_noise=0.1)
STEPS = 2


@pytest.fixture
def gpu() -> Iterator[GpuRecord]:
    with pretended_cuda() as record:
        yield record


@pytest.fixture(scope="module")
def full(tiny_stage: Stage) -> StageConfig:
    """A stage that takes all that there is: a low-resolution image, images, an embedding."""
    unet = {**ATTENDING, "cond_images_channels": 2, "text_embed_dim": 4}
    return tiny_stage(unet, image_px=16, lowres_px=8, lowres_blur=0.5, sampling=FEW)


@pytest.fixture(scope="module")
def latent() -> StageConfig:
    """A latent stage, of 2 px a latent, that takes images and an embedding."""
    pytest.importorskip("diffusers", reason="latent stages need diffusers")
    networks = tiny_latent_unet(cond_images_channels=2, text_embed_dim=4)
    return StageConfig(16, networks, schedule="scaled_linear", sampling=replace(FEW, guidance=2.0, threshold="none"))


def network(config: StageConfig, precision: str = "bf16") -> nn.Module:
    return prepare_for_sampling(build_unet(config).to(CUDA), precision=precision)  # type: ignore[arg-type]


def conditions(config: StageConfig, count: int = 2, device: str = "cuda") -> dict[str, Tensor]:
    side = config.image_px
    return {
        "lowres": torch.rand(count, 3, config.lowres_px or side, config.lowres_px or side, device=device),
        "cond_images": torch.rand(count, 2, side, side, device=device),
        "embedding": torch.rand(count, 4, device=device),
    }


class Everything:
    """Examples with all that a stage may be conditioned on."""

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        shapes = {"image": (3, 16, 16), "cond_images": (2, 16, 16), "embedding": (4,)}
        return {name: torch.rand(shape) for name, shape in shapes.items()}


def settings(**changes: Any) -> TrainingConfig:
    """Settings of a run of one chunk a step, in which the host looks at the device after the first step only."""
    never = dict.fromkeys(("log_every", "checkpoint_every", "sample_every", "validate_every"), 9)
    shared = {"steps": 9, "batch_size": 2, "chunk_size": 2, "precision": "bf16", "workers": 0}
    return TrainingConfig(**{**shared, **never, **changes})


def steps_of(events: Any, gpu: GpuRecord) -> None:
    """Does some steps, and leaves the record of those after the first."""
    for _ in islice(events, 1):
        gpu.clear()
    list(islice(events, STEPS - 1))
    waits, copies = gpu.waits.copy(), gpu.copies.copy()
    with mock.patch("cdm_core.training.guard.Guard.save_at_exit"):
        events.close()
    gpu.waits, gpu.copies = waits, copies


def check_steps(gpu: GpuRecord, *dtypes: torch.dtype) -> None:
    """Checks that steps waited for nothing, and that attention calculated in these types, in bf16 by default."""
    assert not gpu.waits
    assert {(copy.to, copy.pinned, copy.blocking) for copy in gpu.copies} == {("cuda", True, False)}
    assert not gpu.races
    assert {handed for each in gpu.attentions for handed in each.dtypes} <= set(dtypes or [BF16])


def check_layouts(gpu: GpuRecord) -> None:
    assert gpu.convolutions
    assert not gpu.channels_first


@pytest.mark.parametrize(("method", "eta"), [("ddpm", 0.0), ("ddim", 0.5), ("dpmpp_2m", 0.0), ("heun", 0.0)])
def test_no_solver_waits_also_while_inpainting(
    gpu: GpuRecord, tiny_stage: Stage, generators: Generators, method: Any, eta: float
) -> None:
    sampling = SamplingConfig(2, method, eta=eta, threshold="dynamic")
    config = tiny_stage(sampling=sampling)
    unet, known = network(config), torch.rand(2, 3, 8, 8, device=CUDA)
    gpu.clear()
    made = sample_stage(unet, config, generators=generators(1, 2), known=known, known_mask=known[:, :1], resample=2)
    assert made.device.type == "cuda"
    assert made.shape == (2, 3, 8, 8)
    assert not gpu.waits
    assert not gpu.races
    check_layouts(gpu)


def test_sampling_with_all_conditions_waits_for_nothing(
    gpu: GpuRecord, full: StageConfig, generators: Generators
) -> None:
    config = replace(full, sampling=replace(FEW, guidance=2.0))
    unet, given = network(config), conditions(config)
    gpu.clear()
    sample_stage(unet, config, generators=generators(1, 2), steps=1, **given)
    assert not gpu.waits
    assert not gpu.races
    check_layouts(gpu)
    assert {each.dtypes for each in gpu.attentions} == {(BF16, BF16, BF16)}
    assert gpu.written[BF16] > 3 * gpu.written[torch.float32]  # and what is written between is narrow, too


def test_plain_sampling_in_float32_waits_for_nothing_and_takes_generators_of_the_device(
    gpu: GpuRecord, tiny_stage: Stage
) -> None:
    config = tiny_stage({**ATTENDING, "dim_mults": (1, 2)}, sampling=FEW)
    unet = network(config, "fp32")
    gpu.clear()
    drawn = [torch.Generator(CUDA).manual_seed(seed) for seed in range(2)]
    made = sample_stage(unet, config, generators=drawn, steps=1)
    assert made.is_cuda
    assert not gpu.waits
    assert not gpu.copies
    check_layouts(gpu)
    assert {each.dtypes for each in gpu.attentions} == {(torch.float32,) * 3}


def test_a_network_that_guides_itself_waits_for_nothing(
    gpu: GpuRecord, full: StageConfig, generators: Generators
) -> None:
    config = student_of(replace(full, sampling=replace(FEW, guidance=2.0)), 2, guidance=(1.0, 4.0))
    unet, given = network(config), conditions(config)
    gpu.clear()
    sample_stage(unet, config, generators=generators(1, 2), steps=1, **given)
    assert not gpu.waits
    check_layouts(gpu)


def test_what_lies_on_the_host_is_moved_to_the_network(
    gpu: GpuRecord, full: StageConfig, generators: Generators
) -> None:
    unet, given = network(full), conditions(full, device="cpu")
    known, mask = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    gpu.clear()
    sample_stage(unet, full, generators=generators(1, 2), known=known, known_mask=mask, steps=1, **given)
    assert not gpu.waits


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
def test_a_latent_stage_is_sampled_without_waiting_also_while_inpainting(
    gpu: GpuRecord, latent: StageConfig, generators: Generators
) -> None:
    unet, given = network(latent), conditions(latent)
    del given["lowres"]
    known, mask = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    gpu.clear()
    made = sample_stage(unet, latent, generators=generators(1, 2), known=known, known_mask=mask, resample=2, **given)
    assert made.shape == (2, 3, 16, 16)
    assert not gpu.waits
    assert not gpu.races
    assert {each.dtypes for each in gpu.attentions} == {(BF16, BF16, BF16)}
    assert {each.dtype for each in gpu.convolutions} == {BF16}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_cascade_reads_its_images_back_in_one_copy(
    gpu: GpuRecord, full: StageConfig, tiny_stage: Stage, generators: Generators, device: str
) -> None:
    unet = {**ATTENDING, "cond_images_channels": 2, "text_embed_dim": 4}
    cascade = Cascade(CascadeConfig((tiny_stage(unet, sampling=FEW), full))).to(CUDA)
    given = conditions(full, device=device)
    gpu.clear()
    made = cascade.sample(
        generators(1, 2), cond_images=given["cond_images"], embedding=given["embedding"], guidance=2.0, steps=1
    )
    assert not gpu.waits
    assert to_uint8(made[-1]).shape == (2, 16, 16, 3)
    assert len(gpu.blocking("cpu")) == gpu.waits.total() == 1


def test_a_dynamic_threshold_takes_one_sort_for_a_batch(gpu: GpuRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    x0 = torch.rand(8, 3, 4, 4, device=CUDA)
    dynamic_threshold(x0, 0.9)
    assert gpu.launches["sort"] == 1
    monkeypatch.setattr("cdm_core.stages.denoiser.QUANTILE_VALUES", 3 * x0[0].numel())
    dynamic_threshold(x0, 0.9)
    assert gpu.launches["sort"] == 1 + 3


@pytest.mark.parametrize(("crop_px", "batch_size"), [(None, 4), (8, 2)])
def test_a_training_step_with_all_conditions_waits_for_nothing(
    gpu: GpuRecord, full: StageConfig, tmp_path: Path, crop_px: int | None, batch_size: int
) -> None:
    before = crop_px is None
    config = replace(full, noise_before_resize=before)
    training = settings(crop_px=crop_px, batch_size=batch_size)  # two chunks a step, or one
    steps_of(train_stage(config, training, Everything(), tmp_path), gpu)
    check_steps(gpu)
    check_layouts(gpu)
    assert gpu.attentions


def test_a_training_step_in_float32_waits_for_nothing(gpu: GpuRecord, tiny_stage: Stage, tmp_path: Path) -> None:
    config = tiny_stage()
    steps_of(
        train_stage(config, settings(precision="fp32", chunk_size="auto", batch_size=4), Everything(), tmp_path), gpu
    )
    check_steps(gpu, torch.float32)
    check_layouts(gpu)
    assert gpu.launches["_fused_adamw_"] == STEPS - 1


@pytest.mark.parametrize(("method", "channels"), [("progressive", 2), ("consistency", 0)])
def test_a_step_of_distillation_waits_for_nothing(
    gpu: GpuRecord, tiny_stage: Stage, tmp_path: Path, method: DistillationMethod, channels: int
) -> None:
    unet = {"dim_mults": (1,), "text_embed_dim": 4, "cond_images_channels": channels}
    config = tiny_stage(unet, sampling=replace(FEW, guidance=2.0))
    events = distill_stage(
        build_unet(config),
        config,
        settings(batch_size=4),
        Everything(),
        tmp_path,
        steps=(2,),
        method=method,
        guidance=(1.0, 4.0),
    )
    steps_of(events, gpu)
    check_steps(gpu)
    check_layouts(gpu)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("teaches", [False, True])
def test_a_step_of_a_latent_stage_waits_for_nothing(
    gpu: GpuRecord, latent: StageConfig, tmp_path: Path, teaches: bool
) -> None:
    events: Iterator[Any]
    if teaches:
        options = {"steps": (2,), "guidance": (1.0, 4.0)}
        events = distill_stage(build_unet(latent), latent, settings(), Everything(), tmp_path, **options)
    else:
        events = train_stage(latent, settings(), Everything(), tmp_path)
    steps_of(events, gpu)
    check_steps(gpu, BF16, torch.float32)  # the autoencoder's alone is in float32
    assert sum(each.dtypes[0] == torch.float32 for each in gpu.attentions) == STEPS - 1  # a chunk a step
    assert gpu.attentions


@pytest.mark.parametrize("guidance", [None, (1.0, 4.0)])
def test_a_step_of_finishing_waits_for_nothing(
    gpu: GpuRecord, full: StageConfig, tmp_path: Path, guidance: tuple[float, float] | None
) -> None:
    config = student_of(full, 4, guidance=guidance)
    losses = FinishingConfig(widths=(8, 8), starts_at=0, rises_for=1, r1_every=2)
    finisher = Finisher.of(config, losses, 0, torch.device("cpu"))
    seed = next(seed for seed in range(99) if all(finisher.position(step, seed) == 1 for step in range(1, STEPS)))
    gpu.clear()
    student = build_unet(config)
    training = settings(seed=seed, batch_size=4)  # two chunks a step
    events = train_stage(config, training, Everything(), tmp_path, initial=student, finishing=losses)
    steps_of(events, gpu)
    check_steps(gpu)
    check_layouts(gpu)
    assert gpu.launches["_fused_adam_"] == STEPS - 1


def test_a_network_trained_before_gives_its_memory_back(
    gpu: GpuRecord, tiny_stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held:
        """An object that holds itself, as compiled networks do."""

        def __init__(self) -> None:
            self.itself = self

    held = Held()
    trained_before, gone = weakref.ref(held), []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: gone.append(trained_before() is None))
    del held
    events = train_stage(tiny_stage(), settings(), Everything(), tmp_path)
    next(events)
    assert gone[0]
    with mock.patch("cdm_core.training.guard.Guard.save_at_exit"):
        events.close()  # type: ignore[attr-defined]


def test_making_networks_leaves_the_generators_of_gpus_alone(gpu: GpuRecord, full: StageConfig, tmp_path: Path) -> None:
    losses = FinishingConfig(widths=(8, 8))
    events = train_stage(student_of(full, 1), settings(), Everything(), tmp_path, finishing=losses)
    next(iter(events))
    assert not gpu.seedings
    torch.manual_seed(0)
    assert gpu.seedings
    with mock.patch("cdm_core.training.guard.Guard.save_at_exit"):
        events.close()  # type: ignore[attr-defined]


def test_the_pretended_device_notices_what_a_host_waits_for(gpu: GpuRecord) -> None:
    there, here = torch.rand(2, 3, device=CUDA), torch.rand(2, 3)
    assert not gpu.waits
    for wait, kind in (
        (lambda: there.sum().item(), "_local_scalar_dense read"),
        (lambda: bool((there > 0).any()), "_local_scalar_dense read"),
        (lambda: there.nonzero(), "nonzero read"),
        (lambda: there[there > 0], "mask read"),
        (lambda: there.cpu(), "copy to the host"),
        (lambda: there.tolist(), "copy to the host"),
        (lambda: here.copy_(there, non_blocking=True), "copy to the host"),  # not pinned
        (lambda: here.to(CUDA, non_blocking=True), "copy to the device"),
        (lambda: here.pin_memory().to(CUDA), "copy to the device"),
        (lambda: torch.tensor([1.0, 2.0], device=CUDA), "copy to the device"),
        (lambda: there[torch.tensor([1])], "copy of an index to the device"),
        (torch.cuda.synchronize, "synchronize"),
        (lambda: torch.cuda.Event().synchronize(), "synchronize"),
    ):
        gpu.clear()
        wait()
        assert gpu.waits.total() == 1
        [place] = gpu.waits
        assert place.startswith(f"{kind} at ")
        assert "test_pretended_cuda.py:" in place
    gpu.clear()
    there.to("cpu", non_blocking=True)
    here.pin_memory().to(CUDA, non_blocking=True)
    there[there > 0] = 1.0
    torch.full((2,), 3.0, device=CUDA)
    assert not gpu.waits


def test_the_pretended_device_refuses_mixtures(gpu: GpuRecord) -> None:
    there, here = torch.rand(2, 3, device=CUDA), torch.rand(2, 3)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(RuntimeError, match="'cuda' device type"):
        there.normal_(generator=torch.Generator())
    with pytest.raises(RuntimeError, match="'cpu' device type"):
        here.normal_(generator=torch.Generator("cuda"))


def test_the_pretended_device_notices_pinned_memory_that_is_written_too_early(gpu: GpuRecord) -> None:
    batch = torch.empty(3, pin_memory=True)
    batch.fill_(1.0).to(CUDA, non_blocking=True)
    torch.cuda.Event().synchronize()
    batch.fill_(2.0).to(CUDA, non_blocking=True)
    assert not gpu.races
    batch.fill_(3.0)
    assert gpu.races.total() == 1


def test_gradients_node_by_node_are_autograds(full: StageConfig) -> None:
    unet = build_unet(full)
    inputs = torch.rand(2, 3, 16, 16, requires_grad=True)
    given = conditions(full, device="cpu")
    times = torch.tensor([0.5, -1.0])
    lowres = torch.rand(2, 3, 16, 16)  # as the network gets it, enlarged
    told = Conditions(given["cond_images"], lowres, times, given["embedding"], times > 0)

    def loss() -> Tensor:
        weights = [*unet.parameters()]
        for each in weights:
            each.grad = None
        (slope,) = gradients(inputs)
        return slope.square().sum() + unet(inputs, times, **told.of_network(inputs)).square().mean()

    def gradients(image: Tensor) -> tuple[Tensor, ...]:
        value = unet(image, times, **told.of_network(image)).sum()
        if own:
            return pretended_autograd.grad([value], [image], [None], create_graph=True)  # type: ignore[return-value]
        return torch.autograd.grad(value, image, create_graph=True)

    results = []
    for own in (False, True):
        inputs.grad = None
        with sdpa_kernel(SDPBackend.MATH):  # the only one with second derivatives on a CPU
            if own:
                pretended_autograd.backward(loss())
            else:
                loss().backward()  # type: ignore[no-untyped-call]
        results.append([inputs.grad, *(parameter.grad for parameter in unet.parameters())])
    for found, wanted in zip(*reversed(results), strict=True):
        assert (found is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
