from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cdm_core import SamplingConfig, StageConfig, TrainingError
from cdm_core.diffusion.schedule import Schedule
from cdm_core.stages.lowres import blurred, enlarge
from cdm_core.training.loop import train_stage
from cdm_core.training.prepared_examples import PreparedExamples
from cdm_core.training.tally import Reading, Tally

pytestmark = pytest.mark.once

Stage = Callable[..., StageConfig]


class Coordinates:
    """Pictures whose pixels hold where they are, in the image and in all its conditions."""

    def __init__(self, embedding: Tensor | None = None, given: tuple[bool, ...] | None = None) -> None:
        self.embedding, self.given = embedding, given

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        def painted(side: int) -> Tensor:
            centres = (torch.arange(side) + 0.5) / side
            y, x = torch.meshgrid(centres, centres, indexing="ij")
            return torch.stack([x, y, (x + y) / 2])

        example = {"image": painted(16), "cond_images": painted(16), "lowres": painted(8)}
        if self.embedding is not None:
            example["embedding"] = self.embedding
        if self.given is not None:
            example["embedding_given"] = torch.tensor(self.given[draw % len(self.given)])
        return example


@pytest.fixture
def spied(random_unet: Callable[..., nn.Module]) -> Callable[[StageConfig], tuple[nn.Module, list[dict[str, Tensor]]]]:
    """Makes a network to start from, and a list of what it and its copies are given."""

    def make(config: StageConfig) -> tuple[nn.Module, list[dict[str, Tensor]]]:
        unet, calls = random_unet(config), []

        def spy(module: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            if module.training:  # not when it samples
                calls.append({"x_t": given[0], "log_snr": given[1], **named})

        unet.register_forward_pre_hook(spy, with_kwargs=True)
        return unet, calls

    return make


def test_random_numbers_are_of_the_draw_alone(upper: StageConfig, runs: Any) -> None:
    training = runs.settings()
    config = replace(upper, lowres_blur=0.5)
    prepared, again = (PreparedExamples(config, training, runs.pictures()) for _ in range(2))
    first = {draw: prepared[draw] for draw in (0, 7, 3)}
    for draw in (3, 0, 7):
        runs.assert_same(first[draw], again[draw])
    many = [prepared[draw] for draw in range(400)]
    assert len({int(example["noise_seed"]) for example in many}) == 400
    times = np.array([float(example["t"]) for example in many])
    np.testing.assert_allclose(np.quantile(times, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.08)
    np.testing.assert_allclose([max(float(e["lowres_t"]) for e in many)], [0.4], atol=0.01)
    blurs = np.array([float(example["blur_px"]) for example in many])
    assert 0.4 <= blurs[blurs > 0].min() < blurs.max() <= 0.6
    np.testing.assert_allclose((blurs > 0).mean(), 0.5, atol=0.1)
    other = PreparedExamples(config, runs.settings(seed=1), runs.pictures())
    held_out = PreparedExamples(config, training, runs.pictures(), held_out=4)
    seeds = {int(e["noise_seed"]) for e in many}
    assert seeds.isdisjoint(int(source[i]["noise_seed"]) for source in (other, held_out) for i in range(4))
    strata = [int(float(held_out[i]["t"]) * 4) for i in range(4)]
    assert strata == [0, 1, 2, 3]


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_nothing_but_rounding(upper: StageConfig, tmp_path: Path, runs: Any, chunk: int) -> None:
    runs.train(upper, tmp_path / "whole", runs.settings(steps=2, batch_size=4))
    runs.train(upper, tmp_path / "chunks", runs.settings(steps=2, batch_size=4, chunk_size=chunk))
    runs.assert_close(runs.state(tmp_path / "whole"), runs.state(tmp_path / "chunks"))
    whole, chunks = (runs.log(tmp_path / name) for name in ("whole", "chunks"))
    assert [line["loss"] for line in chunks] == pytest.approx([line["loss"] for line in whole], rel=1e-5)


def test_a_run_in_chunks_resumes_to_the_bit(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    training = runs.settings(steps=4, batch_size=3, chunk_size=2)
    runs.train(upper, tmp_path / "straight", training)
    runs.train(upper, tmp_path / "resumed", training, stop=2)
    runs.train(upper, tmp_path / "resumed", training, resume=True)
    runs.assert_same(runs.state(tmp_path / "straight"), runs.state(tmp_path / "resumed"))


def without_memory_for(unet: nn.Module, limit: int, error: type[Exception], *, only_from_call: int = 0) -> list[int]:
    """Lets a network and its copies run out of memory over a number of images; returns the sizes that it is given."""
    sizes: list[int] = []

    def fail(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if module.training:
            sizes.append(len(given[0]))
            if len(given[0]) > limit and len(sizes) > only_from_call:
                raise error("DefaultCPUAllocator: not enough memory: you tried to allocate 9999 bytes.")

    unet.register_forward_pre_hook(fail)
    return sizes


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_auto_halves_chunks_until_they_fit(
    upper: StageConfig,
    random_unet: Callable[..., nn.Module],
    tmp_path: Path,
    runs: Any,
    error: type[Exception],
) -> None:
    training, unet = runs.settings(steps=2, batch_size=5, chunk_size="auto"), random_unet(upper)
    runs.train(upper, tmp_path / "enough", training, initial=unet)
    sizes = without_memory_for(unet, 1, error, only_from_call=1)  # from the second step on
    runs.train(upper, tmp_path / "little", training, initial=unet)
    assert sizes == [5, 5, 2, 1, 1, 1, 1, 1]
    first, restart, *_ = runs.log(tmp_path / "little")
    assert first["step"] == 1
    assert restart == {"event": "chunk_size", "step": 2, "chunk_size": 1}
    runs.assert_close(runs.state(tmp_path / "enough"), runs.state(tmp_path / "little"))


def test_gradients_of_a_step_that_is_done_again_are_dropped(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    training, unet = runs.settings(steps=1, batch_size=4, chunk_size="auto"), random_unet(upper)
    runs.train(upper, tmp_path / "enough", training, initial=unet)
    calls: list[int] = []

    def fail(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if module.training:
            calls.append(len(given[0]))
            if len(calls) in (1, 3):  # the whole share, and its second half
                raise torch.OutOfMemoryError("CUDA out of memory.")

    unet.register_forward_pre_hook(fail)
    runs.train(upper, tmp_path / "little", training, initial=unet)
    assert calls == [4, 2, 2, 1, 1, 1, 1]
    runs.assert_close(runs.state(tmp_path / "enough"), runs.state(tmp_path / "little"))


@pytest.mark.parametrize(
    ("chunk_size", "limit", "line"),
    [
        (None, 2, "out of memory on cpu with chunk_size = 4: lower chunk_size, or set it to 'auto'"),
        (3, 2, "out of memory on cpu with chunk_size = 3: lower chunk_size, or set it to 'auto'"),
        ("auto", 0, "out of memory on cpu with chunk_size = 1: one image does not fit; lower crop_px or unet.dim"),
    ],
)
def test_memory_that_is_too_small_is_one_line(
    upper: StageConfig,
    random_unet: Callable[..., nn.Module],
    tmp_path: Path,
    runs: Any,
    chunk_size: Any,
    limit: int,
    line: str,
) -> None:
    unet = random_unet(upper)
    without_memory_for(unet, limit, torch.OutOfMemoryError)
    with pytest.raises(TrainingError) as caught:
        runs.train(upper, tmp_path, runs.settings(batch_size=4, chunk_size=chunk_size), initial=unet)
    assert str(caught.value) == line
    assert not (tmp_path / "state.pt").exists()


def test_other_errors_of_the_network_are_not_taken_for_memory(
    upper: StageConfig, random_unet: Callable[..., nn.Module], tmp_path: Path, runs: Any
) -> None:
    def fail(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        raise RuntimeError("shapes do not match")

    unet = random_unet(upper)
    unet.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        runs.train(upper, tmp_path, runs.settings(chunk_size="auto"), initial=unet)


@pytest.mark.parametrize("noise_before_resize", [False, True])
def test_image_and_conditions_are_cropped_at_the_same_place(
    tiny_stage: Stage, spied: Any, tmp_path: Path, runs: Any, noise_before_resize: bool
) -> None:
    config = tiny_stage(
        {"cond_images_channels": 3},
        image_px=16,
        lowres_px=8,
        max_lowres_noise=0.0,
        noise_before_resize=noise_before_resize,
        sampling=SamplingConfig(1, "ddim"),
    )
    training = runs.settings(steps=1, batch_size=8, crop_px=8)
    unet, calls = spied(config)
    runs.train(config, tmp_path, training, examples=Coordinates(), initial=unet)
    prepared = [PreparedExamples(config, training, Coordinates())[draw] for draw in range(8)]
    (call,) = calls
    assert call["x_t"].shape == call["cond_images"].shape == call["lowres_cond_img"].shape == (8, 3, 8, 8)
    places = []
    for i, example in enumerate(prepared):
        x, y = example["crop_xy"].tolist()
        places.append((x, y))
        expected = Coordinates()[0]["image"][:, y : y + 8, x : x + 8]
        assert torch.equal(call["cond_images"][i], expected)
        # the noise is drawn for the crop alone, so the image can be told from x_t
        noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(int(example["noise_seed"])))
        alpha, sigma = Schedule(config.schedule).alpha_sigma(example["t"][None])
        x0 = (call["x_t"][i] - sigma[0] * noise) / alpha[0]
        torch.testing.assert_close(x0, expected * 2 - 1, atol=1e-4 / float(alpha), rtol=0)
        # a picture of straight ramps is enlarged to the same ramps, but for the outermost pixels
        inner = slice(max(1 - y, 0), min(15 - y, 8)), slice(max(1 - x, 0), min(15 - x, 8))
        lowres = call["lowres_cond_img"][i]
        torch.testing.assert_close(lowres[:, *inner], (expected * 2 - 1)[:, *inner], atol=0.06, rtol=0)
    assert len(set(places)) > 3


def test_the_low_resolution_image_is_blurred_at_its_own_size(
    upper: StageConfig, spied: Any, tmp_path: Path, runs: Any
) -> None:
    config = replace(upper, lowres_blur=1.0, max_lowres_noise=0.0)
    unet, calls = spied(config)
    example = runs.pictures()[0]
    example["lowres"] = (example["image"][:, ::2, ::2] > 0.5).float()
    examples = dict.fromkeys(range(6), example)
    training = runs.settings(steps=1, batch_size=1)
    runs.train(config, tmp_path, training, examples=examples, initial=unet)
    small = example["lowres"][None] * 2 - 1
    sigma_px = PreparedExamples(config, training, examples)[0]["blur_px"][None]
    expected, sharp = enlarge(config, blurred(small, sigma_px)), enlarge(config, small)
    torch.testing.assert_close(calls[0]["lowres_cond_img"], expected, atol=0.06, rtol=0)  # a little noise is left
    assert (expected - sharp).abs().max() > 0.12


def test_crops_are_sampled_whole(tiny_stage: Stage, tmp_path: Path, runs: Any) -> None:
    config = tiny_stage({"cond_images_channels": 1}, image_px=16, lowres_px=8, sampling=SamplingConfig(1, "ddim"))
    runs.train(config, tmp_path, runs.settings(steps=1, crop_px=8))
    assert (tmp_path / "samples" / "0000001.png").exists()


def test_conditioning_images_are_brought_to_the_stage(tiny_stage: Stage, spied: Any, tmp_path: Path, runs: Any) -> None:
    config = tiny_stage({"cond_images_channels": 3}, image_px=8, sampling=SamplingConfig(1, "ddim"))
    unet, calls = spied(config)
    runs.train(config, tmp_path, runs.settings(steps=1), examples=Coordinates(), initial=unet)
    centres = (torch.arange(8) + 0.5) / 8
    row = calls[0]["cond_images"][0, 0, 4, 1:-1]  # at the border the filter is not symmetric
    torch.testing.assert_close(row, centres[1:-1], atol=1e-3, rtol=0)


def given_to(calls: list[dict[str, Tensor]]) -> list[bool]:
    """Which of the images the network was told to have an embedding."""
    return [share == 0 for call in calls for share in call["cond_drop_prob"].tolist()]


def test_embeddings_are_dropped_in_some_examples(tiny_stage: Stage, spied: Any, tmp_path: Path, runs: Any) -> None:
    config = tiny_stage({"text_embed_dim": 4, "dim_mults": (1,)}, sampling=SamplingConfig(1, "ddim"))
    examples = Coordinates(torch.zeros(4))  # an embedding like any other
    for share in (0.0, 0.5, 1.0):
        unet, calls = spied(config)
        training = runs.settings(steps=5, batch_size=16, sample_every=99, drop_embedding=share)
        runs.train(config, tmp_path / str(share), training, examples=examples, initial=unet)
        assert all(call["text_mask"].all() for call in calls)
        assert 1 - np.mean(given_to(calls)) == pytest.approx(share, abs=0.15 if share == 0.5 else 0)


def test_examples_without_an_embedding_stay_without(tiny_stage: Stage, spied: Any, tmp_path: Path, runs: Any) -> None:
    config = tiny_stage({"text_embed_dim": 4}, sampling=SamplingConfig(1, "ddim"))
    examples = Coordinates(torch.ones(4), given=(True, False, False))
    unet, calls = spied(config)
    training = runs.settings(steps=2, batch_size=3, drop_embedding=0.0)
    runs.train(config, tmp_path, training, examples=examples, initial=unet)
    assert given_to(calls) == [True, False, False] * 2


def test_what_a_stage_is_not_conditioned_on_is_left_out(
    tiny_stage: Stage, spied: Any, tmp_path: Path, runs: Any
) -> None:
    config = tiny_stage(sampling=SamplingConfig(1, "ddim"))
    unet, calls = spied(config)
    runs.train(config, tmp_path, runs.settings(steps=1), examples=Coordinates(torch.ones(4)), initial=unet)
    assert calls[0].keys() == {"x_t", "log_snr"}


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"cond_images_channels": 4}, "the stage of 8 px takes 4 channels of cond_images, the example has 3"),
        ({"text_embed_dim": 4}, "the stage of 8 px takes an embedding of 4, the example has none"),
    ],
)
def test_a_condition_that_is_missing_is_told(
    tiny_stage: Stage, tmp_path: Path, runs: Any, unet: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        runs.train(tiny_stage(unet), tmp_path, runs.settings(workers=1), examples=Coordinates())


def test_the_loss_is_weighed_by_noise_level(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    losses = {}
    for weight in ("none", "p2", "min_snr"):
        training = runs.settings(steps=1, loss_weight=weight)
        losses[weight] = runs.train(upper, tmp_path / weight, training)[0].loss
    prepared = PreparedExamples(upper, runs.settings(), runs.pictures())
    snr = [float(Schedule(upper.schedule).log_snr(prepared[draw]["t"]).exp()) for draw in range(2)]
    p2 = [(1 + value) ** -0.5 for value in snr]
    assert min(p2) * losses["none"] <= losses["p2"] <= max(p2) * losses["none"]
    assert losses["min_snr"] != losses["none"]


def test_images_lie_in_memory_as_convolutions_like_them(
    upper: StageConfig, spied: Any, tmp_path: Path, runs: Any
) -> None:
    unet, calls = spied(upper)
    runs.train(upper, tmp_path, runs.settings(steps=1), initial=unet)
    assert calls[0]["x_t"].is_contiguous(memory_format=torch.channels_last)
    assert all(group["fused"] for group in runs.state(tmp_path)["optimiser"]["param_groups"])


def test_the_host_does_not_wait_for_the_device_between_lines_of_the_log(
    upper: StageConfig, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    steps: list[int] = []

    class Counting(TorchDispatchMode):
        waits = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.waits += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
            return func(*args, **(kwargs or {}))

    read = Tally.read

    def counted(self: Tally) -> Reading:
        looks.append(len(steps))
        return read(self)

    monkeypatch.setattr(Tally, "read", counted)
    training = runs.settings(steps=12, log_every=5, checkpoint_every=100, sample_every=100)
    events = train_stage(upper, training, runs.pictures(), tmp_path, device="cpu")
    steps.append(next(events).step)
    with Counting() as mode:
        for event in events:
            steps.append(event.step)
            if event.step == 11:
                break
    assert mode.waits == 0
    assert looks == [0, 4, 9]  # the first step, and the lines of steps 5 and 10
    events.close()
