"""The losses of a chunk of examples: of the examples themselves, after a teacher, or against a discriminator."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.devices.layout import channels_last, channels_last_on_gpu
from cdm_core.diffusion.objective import LossWeight, loss_weight, training_target
from cdm_core.diffusion.schedule import Schedule
from cdm_core.distillation.finishing import Finisher
from cdm_core.distillation.teacher import Teacher
from cdm_core.stages.denoiser import Conditions, scaled_guidance
from cdm_core.stages.lowres import blurred, enlarge, noise_px, noised_lowres
from cdm_core.training.prepared_examples import Batch

ON_HOST = ("noise_seed", "crop_xy", "draw")
"""Parts of a batch that stay on the CPU, where they are read without waiting for the device."""


def chunk_loss(
    network: nn.Module,
    config: StageConfig,
    batch: Batch,
    generator: torch.Generator,
    *,
    weight: LossWeight,
    precision: str,
    teacher: Teacher | None = None,
) -> Tensor:
    """Returns the sum over a batch of each example's weighted mean squared error, ().

    Args:
        network: The stage's, on the generator's device.
        config: The stage.
        batch: Prepared examples, stacked, on the CPU.
        generator: Seeded anew for each example.
        weight: Of the loss by noise level.
        precision: 'fp32' or 'bf16' (mixed).
        teacher: The model that supplies the targets, at the starts of a student's steps; otherwise the example does.
    """
    inputs = _inputs(network, config, batch, generator)
    x0, t, noise, schedule = inputs.x0, inputs.t, inputs.noise, Schedule(config.schedule)
    predict = _predictor(network, precision)
    position = None
    if teacher is not None:
        position, t = teacher.position(t)
    log_snr = schedule.log_snr(t)
    x_t = channels_last(schedule.add_noise(x0, t, noise))
    guidance = inputs.guidance
    conditions = inputs.conditions
    if guidance is not None:
        conditions = replace(conditions, guidance=scaled_guidance(config, guidance))
    prediction = predict(x_t, log_snr, conditions)
    if teacher is not None and position is not None:
        alpha, sigma = schedule.alpha_sigma(t)
        x0 = teacher.x0(
            x_t, position, inputs.conditions, lambda x_t, log_snr: predict(x_t, log_snr, conditions), guidance=guidance
        )
        noise = (x_t - alpha * x0) / sigma
    target = training_target(config.objective, schedule, x0, noise, t)
    errors = (prediction - target).square().mean(dim=(1, 2, 3))
    total: Tensor = (loss_weight(weight, config.objective, log_snr) * errors).sum()
    return total


def finishing_loss(
    network: nn.Module,
    config: StageConfig,
    batch: Batch,
    generator: torch.Generator,
    *,
    training: TrainingConfig,
    finisher: Finisher,
    share: int,
) -> Tensor:
    """Returns the sum over a batch of a student's loss on real images, (), see `cdm_core.distillation.finishing`.

    The discriminator gets its gradients, too.

    Args:
        network: The student's, on the generator's device.
        config: Its stage.
        batch: Prepared examples, stacked, on the CPU.
        generator: Seeded anew for each example.
        training: How it is trained.
        finisher: The losses and the discriminator.
        share: Examples of the whole step of this process.
    """
    inputs = _inputs(network, config, batch, generator, lowres_t=config.sampling.lowres_noise)
    conditions = inputs.conditions
    if inputs.guidance is not None:
        conditions = replace(conditions, guidance=scaled_guidance(config, inputs.guidance))
    draws = batch["draw"]
    return finisher(
        channels_last_on_gpu(inputs.x0),
        channels_last_on_gpu(inputs.noise),
        draws % 2 == 1,
        int(draws[0]) // training.batch_size,
        training.seed,
        conditions,
        _predictor(network, training.precision),
        share=share,
    )


@dataclass(frozen=True)
class _Inputs:
    """The inputs of a batch's losses: images, times, noise, and conditions; on the device.

    Args:
        x0: Images in [-1, 1], or latents, (B, C, S, S).
        t: Times, (B,).
        noise: Standard normal, as `x0`.
        conditions: Of the batch, without the weights of its embeddings.
        guidance: These weights, (B,), for a network that guides itself.
    """

    x0: Tensor
    t: Tensor
    noise: Tensor
    conditions: Conditions
    guidance: Tensor | None


def _inputs(
    network: nn.Module,
    config: StageConfig,
    batch: Batch,
    generator: torch.Generator,
    *,
    lowres_t: float | None = None,
) -> _Inputs:
    """Moves a batch to the generator's device, and draws its noise there.

    The same device draws the same numbers for an example in any batch. Another kind of device draws others: a CPU than
    a GPU, and a GPU than one with another number of multiprocessors, for images of more than some 200,000 values.

    Args:
        network: The stage's.
        config: The stage.
        batch: See `chunk_loss`.
        generator: Seeded anew for each example.
        lowres_t: Time that the low-resolution images are noised up to; that of each example if not given.
    """
    device = generator.device
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items() if name not in ON_HOST}
    if lowres_t is not None and "lowres_t" in moved:
        moved["lowres_t"] = torch.full_like(moved["lowres_t"], lowres_t)
    seeds, crops = batch["noise_seed"].tolist(), batch["crop_xy"].tolist()
    x0, t = config.unet.encode(network, moved["x0"]), moved["t"]
    lowres_side = noise_px(config) if config.noise_before_resize else x0.shape[-1]
    noise, lowres_noise = torch.empty_like(x0), x0.new_empty((len(x0), 3, lowres_side, lowres_side))
    guidance = torch.empty_like(t) if config.guidance_input else None
    for i, seed in enumerate(seeds):
        generator.manual_seed(seed)
        noise[i].normal_(generator=generator)
        if config.lowres_px is not None:
            lowres_noise[i].normal_(generator=generator)
        if guidance is not None and config.guidance_input is not None:
            guidance[i].uniform_(*config.guidance_input, generator=generator)
    lowres, lowres_log_snr = None, None
    if config.lowres_px is not None:
        lowres, lowres_log_snr = _lowres_input(config, moved, lowres_noise, crops, x0.shape[-1])
    conditions = Conditions(
        _laid_out(moved.get("cond_images")),
        _laid_out(lowres),
        lowres_log_snr,
        moved.get("embedding"),
        moved.get("embedding_given"),
    )
    return _Inputs(x0, t, noise, conditions, guidance)


def _laid_out(images: Tensor | None) -> Tensor | None:
    return None if images is None else channels_last_on_gpu(images)


def _predictor(network: nn.Module, precision: str) -> Callable[[Tensor, Tensor, Conditions], Tensor]:
    """Gives a network's prediction in float32 from x_t, its log-SNR and the conditions."""

    def predict(x_t: Tensor, log_snr: Tensor, conditions: Conditions) -> Tensor:
        with torch.autocast(x_t.device.type, torch.bfloat16, enabled=precision == "bf16"):
            prediction: Tensor = network(x_t, log_snr, **conditions.of_network(x_t))
        return prediction.float()

    return predict


def _lowres_input(
    config: StageConfig, batch: Batch, noise: Tensor, crops: list[list[int]], side: int
) -> tuple[Tensor, Tensor]:
    """Returns the blurred, enlarged and noised low-resolution input, cropped as the image was, and its log-SNR."""
    small, t = batch["lowres"], batch["lowres_t"]
    if config.lowres_blur:
        small = blurred(small, batch["blur_px"])

    def cropped(images: Tensor) -> Tensor:
        if side == config.image_px:
            return images
        return torch.stack([image[:, y : y + side, x : x + side] for image, (x, y) in zip(images, crops, strict=True)])

    if config.noise_before_resize or side == config.image_px:
        whole, log_snr = noised_lowres(config, small, t, noise)
        return cropped(whole), log_snr
    schedule = Schedule(config.lowres_schedule)
    return schedule.add_noise(cropped(enlarge(config, small)), t, noise), schedule.log_snr(t)
