import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import einops
import pytest
import torch
from torch import Tensor, nn

from cdm_core import ConfigError, SamplingConfig, StageConfig, sample_stage
from cdm_core.devices.batch_size import BatchSize
from cdm_core.diffusion.solver import Method
from cdm_core.stages.inference import (
    best_precision,
    compile_in_place,
    compiled_steps,
    compiling_pays,
    precision_named,
    prepare_for_sampling,
)

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]
Unet = Callable[..., nn.Module]
Generators = Callable[..., list[torch.Generator]]

ATTENTION = {
    "dim_mults": (1, 2),
    "layer_attns": (False, True),
    "layer_cross_attns": (False, True),
    "attend_at_middle": True,
}


@pytest.fixture
def config(tiny_stage: Stage) -> StageConfig:
    """A stage with everything that a network can have but an embedding."""
    unet = {**ATTENTION, "memory_efficient": True, "cond_images_channels": 4}
    return tiny_stage(unet, image_px=16, lowres_px=8, sampling=SamplingConfig(4, "dpmpp_2m"))


def drawn(unet: nn.Module, config: StageConfig, generators: Generators, count: int = 3) -> Tensor:
    """Images of a stage, each with its own noise and conditions."""
    given = torch.rand(8, 4, 16, 16, generator=torch.Generator().manual_seed(0))[:count]
    lowres = given[:, :3, ::2, ::2]
    return sample_stage(unet, config, generators=generators(*range(count)), lowres=lowres, cond_images=given)


def test_preparing_changes_nothing_unless_asked(config: StageConfig, random_unet: Unet, generators: Generators) -> None:
    unet = random_unet(config)
    wanted = drawn(unet, config, generators)
    prepared = prepare_for_sampling(unet)
    assert prepared is unet
    torch.testing.assert_close(drawn(unet, config, generators), wanted, atol=1e-5, rtol=0)


def test_bf16_halves_the_weights_and_nearly_keeps_the_image(
    config: StageConfig, random_unet: Unet, generators: Generators
) -> None:
    unet = random_unet(config)
    wanted, size = drawn(unet, config, generators), sum(p.nbytes for p in unet.parameters())
    prepare_for_sampling(unet, precision="bf16")
    found = drawn(unet, config, generators)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().mean() < 0.02
    large = {type(m) for m in unet.modules() if any(p.dtype == torch.float32 for p in m.parameters(recurse=False))}
    assert not large & {nn.Conv2d, nn.Linear}
    assert sum(p.nbytes for p in unet.parameters()) < 0.9 * size  # most of these tiny networks' are null embeddings


def test_only_gpus_sample_in_bf16_of_their_own_accord() -> None:
    assert best_precision(torch.device("cpu")) == "fp32"


def test_precisions_have_names() -> None:
    assert (precision_named("fp32"), precision_named("bf16")) == ("fp32", "bf16")
    with pytest.raises(ConfigError, match="precision 'auto': wanted fp32 or bf16"):
        precision_named("auto")


@pytest.mark.parametrize(
    ("seconds", "around", "compilations", "compiler", "pays"),
    [
        (1.5, 0.0, 1, True, False),  # 100 images of one step take 150 seconds, and 94 if compiled
        (1.7, 0.0, 1, True, True),  # 170, and 106
        (1.7, 0.0, 2, True, False),
        (3.4, 0.0, 2, True, True),
        (1.7, 1.5, 1, True, False),  # the host takes 150
        (1.7, 0.0, 1, False, False),
    ],
)
def test_a_network_is_compiled_where_that_saves_more_time_than_it_takes(
    monkeypatch: pytest.MonkeyPatch, seconds: float, around: float, compilations: int, compiler: bool, pays: bool
) -> None:
    monkeypatch.setattr("cdm_core.stages.inference.has_compiler", lambda: compiler)
    for steps in (1, 4):
        measured = BatchSize(8, seconds / steps, around)
        assert compiling_pays(measured, 100, steps, compilations=compilations) is pays


class TwoLayers(nn.Module):
    """A network that is compiled in seconds, and takes what a stage of `tiniest` gives."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(10, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)

    def forward(
        self, x: Tensor, time: Tensor, *, lowres_cond_img: Tensor, lowres_noise_times: Tensor, cond_images: Tensor
    ) -> Tensor:
        given = torch.cat([x, lowres_cond_img, cond_images], 1)
        shift = (time + lowres_noise_times).tanh()[:, None, None, None]
        predicted: Tensor = self.last(nn.functional.silu(nn.functional.group_norm(self.first(given) + shift, 2)))
        return predicted


@pytest.fixture
def tiniest(tiny_stage: Stage) -> StageConfig:
    unet = {"dim_mults": (1,), "cond_images_channels": 4}
    return tiny_stage(unet, image_px=16, lowres_px=8, sampling=SamplingConfig(4, "dpmpp_2m"))


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no compiler")
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_compiled_stage_draws_the_same_images(
    tiniest: StageConfig, random_unet: Unet, generators: Generators, whole: bool
) -> None:
    config, unet = tiniest, random_unet(tiniest) if whole else TwoLayers()
    wanted = drawn(unet, config, generators)
    torch.compiler.reset()
    names = list(unet.state_dict())
    prepare_for_sampling(unet, compiled=True)
    found = drawn(unet, config, generators)
    assert (found - wanted).abs().max() > 0  # it was compiled: sums are taken in another order
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert list(unet.state_dict()) == names


def test_a_stage_whose_network_is_captured_as_a_graph_draws_the_same_images(
    tiniest: StageConfig, generators: Generators, compilations: list[int]
) -> None:
    unet = TwoLayers()
    wanted, names = drawn(unet, tiniest, generators), list(unet.state_dict())
    prepare_for_sampling(unet, compiled=True)
    torch.testing.assert_close(drawn(unet, tiniest, generators), wanted, atol=1e-5, rtol=0)
    assert list(unet.state_dict()) == names
    assert len(compilations) == 1


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what is compiled, without a compiler: how many operations each graph has."""
    counted: list[int] = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        counted.append(len(graph.graph.nodes))
        return graph.forward

    def compile_(self: nn.Module, **options: Any) -> None:
        own(self, **{**options, "backend": backend, "mode": None})

    own = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", compile_)
    torch.compiler.reset()
    return counted


def test_one_compilation_serves_all_steps_and_batches_of_a_size(
    tiniest: StageConfig, random_unet: Unet, generators: Generators, compilations: list[int]
) -> None:
    unet = prepare_for_sampling(random_unet(tiniest), compiled=True)
    context = torch.rand(2, 4, 16, 16)
    known = torch.rand(2, 16, 16, 3).permute(0, 3, 1, 2)  # as pictures lie in memory
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., :3] = 1
    methods: tuple[Method, ...] = ("ddpm", "heun")
    for method in methods:
        for lowres in (context[:, :3, ::2, ::2], context[:, :3, ::2, ::2].contiguous()):
            for held in ({}, {"known": known, "known_mask": mask}, {"known": known.contiguous(), "known_mask": mask}):
                stage = replace(tiniest, sampling=SamplingConfig(3, method))
                sample_stage(
                    unet, stage, generators=generators(0, 1), lowres=lowres, cond_images=context, resample=2, **held
                )
    assert len(compilations) == 1


@pytest.mark.parametrize("method", ["ddim", "dpmpp_2m"])
def test_all_steps_of_a_stage_compile_to_one_graph(
    tiniest: StageConfig,
    generators: Generators,
    compilations: list[int],
    monkeypatch: pytest.MonkeyPatch,
    method: Method,
) -> None:
    def count(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        compilations.append(len(graph.graph.nodes))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=count))
    unet, take = TwoLayers().requires_grad_(False), compiled_steps()
    stage = replace(tiniest, sampling=SamplingConfig(4, method))
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., :3] = 1
    for batch in range(3):
        context, known = torch.rand(2, 4, 16, 16), torch.rand(2, 3, 16, 16)
        for held in ({}, {"known": known, "known_mask": mask}):
            given = {"lowres": context[:, :3, ::2, ::2], "cond_images": context, **held}
            wanted, got = (
                sample_stage(unet, stage, generators=generators(0, batch), take=each, **given) for each in (None, take)
            )
            torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
    assert len(compilations) == 2  # with known pixels, and without


def test_every_network_is_compiled_however_many_there_are(compilations: list[int]) -> None:
    pictures, times = torch.zeros(1, 3, 8, 8), torch.zeros(1)
    context = torch.zeros(1, 4, 8, 8)
    with torch._dynamo.config.patch(recompile_limit=2):  # 8 unless told otherwise, of a function that all share
        for width in (8, 16, 24, 32):
            unet = TwoLayers(width)
            compile_in_place(unet)
            unet(pictures, times, lowres_cond_img=pictures, lowres_noise_times=times, cond_images=context)
    assert len(compilations) == 4


def test_the_first_network_of_a_process_is_compiled_once(
    compilations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rearranges(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, 1))

        def forward(self, x: Tensor) -> Tensor:
            tokens: Tensor = einops.rearrange(x, "b c h w -> b (h w) c")
            scale: Tensor = einops.rearrange(self.scale, "c one -> one c")  # a class of its own to einops
            return tokens * scale

    monkeypatch.setattr("einops._backends._type2backend", {})  # einops has not seen a tensor yet
    unet = Rearranges()
    compile_in_place(unet)
    for _ in range(2):
        unet(torch.zeros(1, 3, 8, 8))
    assert len(compilations) == 1


def test_a_copy_of_a_prepared_network_gives_the_same(
    config: StageConfig, random_unet: Unet, generators: Generators
) -> None:
    unet = prepare_for_sampling(random_unet(config), precision="bf16", compiled=True)
    copied = copy.deepcopy(unet)  # compiled networks are copied as they were before
    assert torch.equal(drawn(copied, config, generators), drawn(copy.deepcopy(copied), config, generators))
