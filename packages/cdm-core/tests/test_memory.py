from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.optim.swa_utils import AveragedModel

from cdm_core import SamplingConfig, StageConfig, TrainingConfig, UnetConfig, build_unet
from cdm_core.memory import StageMemory, _Ledger
from cdm_core.training.losses import chunk_loss
from cdm_core.training.prepared_examples import PreparedExamples
from cdm_core.training.setup import make_trainable

pytestmark = pytest.mark.once

UNET = UnetConfig(
    dim=8,
    dim_mults=(1,),
    cond_dim=8,
    layer_attns=True,
    layer_cross_attns=True,
    attend_at_middle=False,
    attn_heads=2,
    attn_dim_head=8,
    init_cross_embed=False,
    init_conv_kernel_size=3,
    cond_images_channels=3,
    text_embed_dim=2,
)
STAGE = StageConfig(
    32, UNET, lowres_px=8, lowres_blur=0.5, guidance_input=(1.0, 4.0), sampling=SamplingConfig(2, threshold="dynamic")
)
TRAINING = TrainingConfig(9, 4, crop_px=16, precision="fp32", loss_weight="p2")


class Pictures:
    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(draw)
        return {
            "image": torch.rand(3, 32, 32, generator=generator),
            "cond_images": torch.rand(3, 32, 32, generator=generator),
            "embedding": torch.rand(2, generator=generator),
        }


@pytest.fixture(scope="module")
def memory() -> StageMemory:
    return StageMemory(STAGE, TRAINING)


def size(tensors: object) -> int:
    return sum(each.nbytes for each in tensors)  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_estimates_are_what_a_real_step_takes(precision: str, memory: StageMemory) -> None:
    training = replace(TRAINING, precision=precision)
    estimated = (memory if precision == "fp32" else StageMemory(STAGE, training)).training_memory()
    unet = build_unet(STAGE)
    make_trainable(unet, STAGE)
    average = AveragedModel(unet)
    optimiser = torch.optim.AdamW(unet.parameters(), fused=True)
    examples = PreparedExamples(STAGE, training, Pictures())
    example = [examples[draw] for draw in range(4)]
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with _Ledger(unet) as ledger:
        batch = {name: torch.stack([each[name] for each in example]) for name in example[0]}
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = chunk_loss(unet, STAGE, batch, torch.Generator(), weight="p2", precision=precision)
        for weight in unet.parameters():
            kept.pop(weight.untyped_storage().data_ptr(), None)
        (loss / 4).backward()
    optimiser.step()
    assert estimated.chunk == 4
    assert estimated.weights == size(unet.parameters())
    assert estimated.gradients == size(weight.grad for weight in unet.parameters() if weight.grad is not None)
    assert estimated.moments == size(value for each in optimiser.state.values() for value in each.values())
    assert estimated.average == size(average.module.parameters())
    assert estimated.kept == pytest.approx(sum(kept.values()), rel=1e-3)
    peak = estimated.states - estimated.gradients + int(np.cumsum(ledger._changes).max())
    assert estimated.peak == pytest.approx(peak, rel=1e-3)


def test_a_batch_in_chunks_keeps_its_gradients(memory: StageMemory) -> None:
    whole, half = memory.training_memory(), memory.training_memory(2)
    assert half.kept < whole.kept
    assert half.states < half.peak < whole.peak
    assert whole.peak < memory.training_memory(8).peak < 2 * whole.peak


def test_the_largest_chunk_that_fits(memory: StageMemory) -> None:
    single, eight = (memory.training_memory(chunk).peak for chunk in (1, 8))
    assert memory.largest_chunk(single - 1) == 0
    assert memory.largest_chunk(single) == 1
    assert [memory.largest_chunk(eight - 1), memory.largest_chunk(eight)] == [4, 8]
    assert memory.largest_chunk(10**12) == 64


def test_sampling_takes_half_the_weights_in_bf16(memory: StageMemory) -> None:
    fp32, bf16 = memory.sampling_memory(precision="fp32"), memory.sampling_memory()
    assert fp32.weights == memory.training_memory().weights
    assert fp32.weights / 2 < bf16.weights < 0.6 * fp32.weights
    unet = build_unet(STAGE).eval()
    assert 0 < bf16.image < fp32.image
    assert size(unet.parameters()) == fp32.weights


def test_a_chunk_without_images_is_refused(memory: StageMemory) -> None:
    with pytest.raises(ValueError, match="a chunk has at least 1 image, got 0"):
        memory.training_memory(0)
