"""The interface of everything that samples: x_t, t and conditions in, x0 out."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from cdm_core.config import StageConfig
from cdm_core.devices.layout import channels_last, channels_last_on_gpu
from cdm_core.diffusion.objective import predicted_x0
from cdm_core.diffusion.schedule import Schedule

QUANTILE_VALUES = 16_000_000
"""Most values that `torch.quantile` takes."""


@dataclass(frozen=True)
class Conditions:
    """The conditions of a stage.

    Args:
        cond_images: Contexts or masks in [0, 1], (B, C, S, S) at the stage's resolution.
        lowres: The noised, enlarged low-resolution image, around [-1, 1], (B, 3, S, S).
        lowres_log_snr: How noisy it is, (B,).
        embedding: Of a tissue type or the like, (B, D).
        embedding_given: Which images have one, (B,) bool; an embedding of zeros is one like any other.
        guidance: Weight of the embedding as a network that guides itself gets it, in [0, 1], (B,).
    """

    cond_images: Tensor | None = None
    lowres: Tensor | None = None
    lowres_log_snr: Tensor | None = None
    embedding: Tensor | None = None
    embedding_given: Tensor | None = None
    guidance: Tensor | None = None

    def of_network(self, x_t: Tensor) -> dict[str, Tensor]:
        """Returns the conditions under the names of `imagen_pytorch.Unet.forward`, for its x_t, (B, 3, S, S)."""
        named: dict[str, Tensor | None] = {
            "cond_images": self._images(x_t),
            "lowres_cond_img": self.lowres,
            "lowres_noise_times": self.lowres_log_snr,
        }
        if self.embedding is not None and self.embedding_given is not None:
            tokens = self.embedding[:, None]
            # The library would take an embedding of zeros for none: the mask says that the token is there.
            named["text_embeds"], named["text_mask"] = tokens, torch.ones_like(tokens[:, :, 0], dtype=torch.bool)
            named["cond_drop_prob"] = (~self.embedding_given).float()
        return {name: value for name, value in named.items() if value is not None}

    def _images(self, x_t: Tensor) -> Tensor | None:
        if self.guidance is None:
            return self.cond_images
        beside = [] if self.cond_images is None else [self.cond_images]
        size = (*beside, x_t)[0].shape[2:]
        weight = self.guidance.to(x_t.dtype).reshape(-1, 1, 1, 1).expand(-1, 1, *size)
        return channels_last(torch.cat((*beside, channels_last_on_gpu(weight)), dim=1))

    def rows(self, rows: Tensor) -> "Conditions":
        """Returns the conditions of some of the images, whose numbers are given, (b,)."""
        of_rows = {field.name: getattr(self, field.name) for field in fields(self)}
        return Conditions(**{name: None if value is None else value[rows] for name, value in of_rows.items()})

    def without_embedding(self) -> "Conditions":
        """Returns the same conditions with no image's embedding given."""
        given = self.embedding_given
        return replace(self, embedding_given=None if given is None else torch.zeros_like(given))


def predict(unet: nn.Module, x_t: Tensor, log_snr: Tensor, conditions: Conditions) -> Tensor:
    """Returns a network's prediction, (B, 3, S, S), in the precision of x_t, from x_t and its log-SNR, (B,).

    Precision inside follows the weights: a network whose convolutions are in bfloat16 runs in mixed precision.
    """
    dtype = next((layer.weight.dtype for layer in unet.modules() if isinstance(layer, nn.Conv2d)), torch.float32)
    with torch.autocast(x_t.device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
        prediction: Tensor = unet(x_t, log_snr, **conditions.of_network(x_t))
    return prediction.to(x_t.dtype)


@dataclass(frozen=True)
class Denoiser:
    """A network with its schedule, objective, guidance and threshold, bound to its conditions.

    Args:
        unet: Network as of `build_unet`.
        config: Its stage.
        conditions: Its conditions.
        guidance: Weight of the embedding of each image, (B,); the stage's own if not given.
    """

    unet: nn.Module
    config: StageConfig
    conditions: Conditions = Conditions()
    guidance: Tensor | None = None

    @property
    def schedule(self) -> Schedule:
        """The forward process that the network was trained for."""
        return Schedule(self.config.schedule)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predicts x0 in [-1, 1], (B, 3, S, S), from x_t, (B, 3, S, S), and t, (B,).

        Raises:
            ValueError: The images that it is conditioned on are not of the size of x_t, or not as many.

        Source: Ho and Salimans 2022, 'Classifier-free diffusion guidance', equation 6, with guidance = 1 + w.
        """
        self._check_sizes(x_t)
        prediction = self._guided(x_t, self.schedule.log_snr(t))
        x0 = predicted_x0(self.config.objective, self.schedule, prediction, x_t, t)
        if self.config.sampling.threshold == "dynamic":
            return dynamic_threshold(x0, self.config.sampling.threshold_quantile)
        return x0 if self.config.sampling.threshold == "none" else x0.clamp(-1.0, 1.0)

    def _check_sizes(self, x_t: Tensor) -> None:
        """Checks the conditions by their shapes: the network would stretch images of another size."""
        sizes = x_t.shape
        side = sizes[2] * self.config.unet.shrinks_by
        for name, images in (("cond_images", self.conditions.cond_images), ("lowres", self.conditions.lowres)):
            if images is not None and (images.shape[0], *images.shape[2:]) != (sizes[0], side, side):
                raise ValueError(
                    f"{name}: wanted {sizes[0]} images of {side} x {side} px for this x_t, got the shape "
                    f"{tuple(images.shape)}"
                )

    def _guided(self, x_t: Tensor, log_snr: Tensor) -> Tensor:
        own = self.config.sampling.guidance
        if self.config.guidance_input is not None:
            weights = torch.full_like(log_snr, own) if self.guidance is None else self.guidance
            conditions = replace(self.conditions, guidance=scaled_guidance(self.config, weights))
            return predict(self.unet, x_t, log_snr, conditions)
        prediction = predict(self.unet, x_t, log_snr, self.conditions)
        if self.guidance is None and own == 1:
            return prediction
        without = predict(self.unet, x_t, log_snr, self.conditions.without_embedding())
        weight = own if self.guidance is None else self.guidance.reshape(-1, 1, 1, 1)
        return without + weight * (prediction - without)


def scaled_guidance(config: StageConfig, weights: Tensor) -> Tensor:
    """Returns weights of the embedding as a network gets them: from 0 for the least in its range to 1."""
    least, largest = config.guidance_input or (0.0, 1.0)
    return (weights - least) / (largest - least)


def dynamic_threshold(x0: Tensor, quantile: float) -> Tensor:
    """Clips each image, (B, C, H, W), to its own quantile of absolute values, and divides by it where it is over 1.

    Source: Saharia et al. 2022, 'Photorealistic text-to-image diffusion models', section 2.3.
    """
    at_once = max(1, QUANTILE_VALUES // x0[0].numel())
    limits = [torch.quantile(images.abs().flatten(1), quantile, dim=1) for images in torch.split(x0, at_once)]
    limit = torch.cat(limits).clamp(min=1.0).reshape(-1, 1, 1, 1)
    return x0.clamp(-limit, limit) / limit
