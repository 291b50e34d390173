"""One stage at work: a batch of images from its noise and its conditions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cdm_core.checks import NOISY_RANGE, check_finite, check_floats, check_shape, check_values, is_on_host
from cdm_core.config import StageConfig
from cdm_core.devices.host_batch import copied_to
from cdm_core.devices.layout import channels_last
from cdm_core.diffusion.sampler import TakeSteps, draw_noise, sample
from cdm_core.diffusion.schedule import Schedule
from cdm_core.diffusion.solver import sampling_times
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.lowres import enlarge, noise_px, noised_lowres


@dataclass(frozen=True)
class StageNoise:
    """The noise that a batch begins with, standard normal, where the network is.

    Args:
        start: Of what is sampled, (B, *config.sample_shape).
        lowres: For the low-resolution images, (B, 3, n, n) with n as of `noise_px`; None where there are none, or
            where they have their noise already.
    """

    start: Tensor
    lowres: Tensor | None = None


def draw_stage_noise(
    config: StageConfig, generators: Sequence[torch.Generator], device: torch.device, *, lowres: bool
) -> StageNoise:
    """Draws the noise that a batch begins with, each image's from its own generator.

    Args:
        config: The stage.
        generators: One for each image.
        device: Where the network is.
        lowres: Whether low-resolution images are to be noised.
    """
    side = noise_px(config)
    small = draw_noise((3, side, side), generators, device) if lowres else None
    return StageNoise(draw_noise(config.sample_shape, generators, device), small)


def sample_stage(
    unet: nn.Module,
    config: StageConfig,
    *,
    generators: Sequence[torch.Generator],
    lowres: Tensor | None = None,
    cond_images: Tensor | None = None,
    embedding: Tensor | None = None,
    known: Tensor | None = None,
    known_mask: Tensor | None = None,
    steps: int | None = None,
    resample: int = 1,
    jump: int = 1,
    until: float = 0.0,
    lowres_is_noised: bool = False,
    noise: StageNoise | None = None,
    take: TakeSteps | None = None,
) -> Tensor:
    """Samples one stage for a batch; images are in [0, 1] throughout.

    Inputs on another device than the network are copied to it, without waiting for a GPU.

    Args:
        unet: The stage's network.
        config: The stage.
        generators: One for each image; all its noise is drawn from it.
        lowres: Images of the stage before, (B, 3, s, s); for a stage that enlarges.
        cond_images: Contexts or masks, (B, C, S, S).
        embedding: Of a tissue type or the like, (B, D); if None, the network gets its null embedding.
        known: Pixels to hold, (B, 3, S, S).
        known_mask: 1 where they are known, (B, 1, S, S).
        steps: Number of steps; the stage's own if not given.
        resample: See `sample`.
        jump: See `sample`.
        until: Time to stop at; over 0 the images keep the noise of that time and leave [0, 1].
        lowres_is_noised: The low-resolution images have the noise of `config.sampling.lowres_noise` already.
        noise: The noise, drawn ahead by `draw_stage_noise`; if None, it is drawn from the generators now.
        take: See `sample`.

    Returns:
        Images, (B, 3, S, S).

    Raises:
        ValueError: The stage enlarges an image or is conditioned on one, or on an embedding, and none is given, or
            one of another shape than it takes; or, of a tensor in the host's memory, values that are not finite, or
            far outside [0, 1].
    """
    device = next(unet.parameters()).device
    _check_known(config, len(generators), known, known_mask)
    known, known_mask = _on(device, known), _on(device, known_mask)
    if noise is None:
        is_noised_now = lowres is not None and not lowres_is_noised
        noise = draw_stage_noise(config, generators, device, lowres=is_noised_now)
    denoiser = stage_denoiser(
        unet,
        config,
        len(generators),
        lowres=lowres,
        lowres_noise=noise.lowres,
        cond_images=cond_images,
        embedding=embedding,
    )
    x = sample(
        denoiser,
        channels_last(noise.start),
        schedule=denoiser.schedule,
        times=sampling_times(
            config.sampling.steps if steps is None else steps, power=config.sampling.time_power, until=until
        ),
        method=config.sampling.method,
        eta=config.sampling.eta,
        generators=generators,
        known=None if known is None else channels_last(config.unet.encode(unet, known * 2 - 1)),
        known_mask=None if known_mask is None else _mask_of(config.sample_shape, known_mask),
        resample=resample,
        jump=jump,
        take=take,
    )
    x = config.unet.decode(unet, x)
    return ((x if until > 0 else x.clamp(-1, 1)) + 1) / 2


def _mask_of(shape: tuple[int, int, int], known_mask: Tensor) -> Tensor:
    """Brings a mask, (B, 1, S, S), to the size of what is sampled; a latent is known if all its pixels are."""
    return -nn.functional.adaptive_max_pool2d(-known_mask, shape[1:])


def stage_denoiser(
    unet: nn.Module,
    config: StageConfig,
    count: int,
    *,
    lowres: Tensor | None = None,
    lowres_noise: Tensor | None = None,
    cond_images: Tensor | None = None,
    embedding: Tensor | None = None,
) -> Denoiser:
    """Binds a network to the conditions of a batch, which are copied to its device where they are not there.

    Args:
        unet: The stage's network.
        config: The stage.
        count: Number of images, B.
        lowres: Images of the stage before in [0, 1], (B, 3, s, s); for a stage that enlarges.
        lowres_noise: Standard normal, (B, 3, n, n) with n as of `noise_px`, for their noise of
            `config.sampling.lowres_noise`; None if they have it already.
        cond_images: Contexts or masks in [0, 1], (B, C, S, S); contexts may leave it by noise.
        embedding: Of a tissue type or the like, (B, D); if None, the network gets its null embedding.

    Raises:
        ValueError: As of `sample_stage`.
    """
    _check_conditions(config, count, lowres, cond_images, embedding, noised=lowres_noise is None)
    device = next(unet.parameters()).device
    lowres, cond_images, embedding = _on(device, lowres), _on(device, cond_images), _on(device, embedding)
    conditions = Conditions(None if cond_images is None else channels_last(cond_images))
    if lowres is not None:
        t = torch.full((count,), config.sampling.lowres_noise, device=device)
        if lowres_noise is None:
            noised, log_snr = enlarge(config, lowres * 2 - 1), Schedule(config.lowres_schedule).log_snr(t)
        else:
            noised, log_snr = noised_lowres(config, lowres * 2 - 1, t, lowres_noise)
        conditions = replace(conditions, lowres=channels_last(noised), lowres_log_snr=log_snr)
    if config.unet.text_embed_dim is not None:
        given = torch.full((count,), embedding is not None, device=device)
        absent = torch.zeros(count, config.unet.text_embed_dim, device=device)
        conditions = replace(conditions, embedding=absent if embedding is None else embedding, embedding_given=given)
    return Denoiser(unet, config, conditions)


def _check_conditions(
    config: StageConfig,
    count: int,
    lowres: Tensor | None,
    cond_images: Tensor | None,
    embedding: Tensor | None,
    *,
    noised: bool,
) -> None:
    """Checks the conditions of a batch; values only where they are in the host's memory: a GPU is not waited for."""
    side, stage = config.image_px, f"the stage of {config.image_px} px"
    if (lowres is None) != (config.lowres_px is None):
        wanted = "takes no" if config.lowres_px is None else "enlarges a"
        raise ValueError(f"{stage} {wanted} low-resolution image")
    if lowres is not None and config.lowres_px is not None:
        check_floats("lowres", lowres)
        check_shape("lowres", lowres, (count, 3, config.lowres_px, config.lowres_px))
        if is_on_host(lowres) and noised:
            check_finite("lowres", lowres)
        elif is_on_host(lowres):
            check_values("lowres", lowres)
    channels, given = config.unet.cond_images_channels, 0 if cond_images is None else cond_images.shape[1]
    if given != channels:
        raise ValueError(f"{stage} takes {channels or 'no'} channels of cond_images, got {given or 'none'}")
    if cond_images is not None:
        check_floats("cond_images", cond_images)
        check_shape("cond_images", cond_images, (count, channels, side, side))
        if is_on_host(cond_images):
            check_values("cond_images", cond_images, low=NOISY_RANGE[0], high=NOISY_RANGE[1])
    width = config.unet.text_embed_dim
    if embedding is not None and (width is None or embedding.shape[1:] != (width,)):
        wanted = "no embedding" if width is None else f"an embedding of {width} numbers for each image, (B, {width})"
        raise ValueError(f"{stage} takes {wanted}, got the shape {tuple(embedding.shape)}")
    if embedding is not None:
        check_floats("embedding", embedding)
        check_shape("embedding", embedding, (count, width or 0))
        if is_on_host(embedding):
            check_finite("embedding", embedding)


def _check_known(config: StageConfig, count: int, known: Tensor | None, known_mask: Tensor | None) -> None:
    if known is None or known_mask is None:
        return  # that both are given is checked by `sample`
    side = config.image_px
    for name, images, channels in (("known", known, 3), ("known_mask", known_mask, 1)):
        check_floats(name, images)
        check_shape(name, images, (count, channels, side, side))
    if is_on_host(known) and is_on_host(known_mask):
        check_values("known_mask", known_mask)
        check_finite("known", known)  # where it is not known, too: nan times 0 is nan
        check_values("known", known * (known_mask > 0))


def _on(device: torch.device, values: Tensor | None) -> Tensor | None:
    return None if values is None else copied_to(device, values)
