"""A small convolutional network that learns to tell real from generated images."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pfid.device import Device, on_device
from pfid.errors import PfidError, check_whole, is_finite
from pfid.images.sources import Image

LARGEST_CROP_PX = 64
LEAST_CROP_PX = 16
_LAYERS = ((32, 2), (32, 2), (64, 1), (128, 2), (128, 2))
"""Channels and stride of each convolution of 3 x 3."""
_DETAIL_GAIN = 8
"""Brings the difference from the local mean to about the range of the pixels themselves."""
_CROPS_ACROSS = 3
_NORM_BATCHES = 16


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of the classifier's training.

    Attributes:
        crop_px: Side of the random crops, pixels; None for 64 px, or the smallest side of all images if that is less.
        steps: Training steps of each network.
        batch_size: Crops in a step, half of them real.
        learning_rate: Of Adam in the first step; it falls to 0 along a cosine.
    """

    crop_px: int | None = None
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.crop_px is not None:
            object.__setattr__(self, "crop_px", check_whole("crop_px", self.crop_px, LEAST_CROP_PX, PfidError))
        for name, least in (("steps", 1), ("batch_size", 2)):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least, PfidError))
        if self.batch_size % 2:
            raise PfidError(f"batch_size is {self.batch_size}; half of a batch is real: give an even number")
        if not is_finite(self.learning_rate) or self.learning_rate <= 0:
            raise PfidError(f"learning_rate is {self.learning_rate}; give a number above 0")
        object.__setattr__(self, "learning_rate", float(self.learning_rate))

    def __str__(self) -> str:
        return (
            f"{len(_LAYERS)} convolutions, {self.steps:,} steps of {self.batch_size} crops, Adam {self.learning_rate:g}"
        )


class Classifier:
    """Tells real from generated crops: five convolutions with batch normalisation, then the mean over the crop.

    The network sees the pixels and, beside them, their difference from the mean of 3 x 3 pixels: without it, slight
    grain is learnt only after many more steps. Nothing is normalised by the statistics of a single image, so that its
    brightness and contrast stay visible. Weights start at random; nothing is loaded.

    Args:
        crop_px: Side of a crop, pixels.
        config: How to train.
        rng: Source of the weights and of the random crops: the same one gives the same network on the same CPU.
        device: Device to train on; None for the CPU.
    """

    def __init__(self, crop_px: int, config: ClassifierConfig, rng: np.random.Generator, device: Device = None) -> None:
        self._crop_px, self._config, self._rng, self._device = crop_px, config, rng, device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            self._network = _network().to(device).to(memory_format=torch.channels_last)

    def train(self, real: Sequence[Image], fake: Sequence[Image]) -> Iterator[int]:
        """Trains the network; yields the number of steps done after each.

        Each crop is turned by a random multiple of 90 degrees and flipped at random. Half of each batch is real.

        Args:
            real: Real images, each (H, W, 3) uint8, no side smaller than the crop.
            fake: Generated images, likewise.
        """
        optimizer = torch.optim.Adam(self._network.parameters(), self._config.learning_rate)
        half, steps = self._config.batch_size // 2, self._config.steps
        is_real = torch.tensor([1.0] * half + [0.0] * half, device=self._device)
        self._network.train()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = self._config.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            logits = self._network(self._random_batch(real, fake))[:, 0]
            loss = F.binary_cross_entropy_with_logits(logits, is_real)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield step + 1
        self._measure_norms(real, fake)

    @torch.no_grad()
    def realness(self, image: Image) -> float:
        """Returns the probability that an image is real, in [0, 1], by the mean logit of crops that are spread over it.

        Crops lie edge to edge, at most 3 x 3 of them.

        Args:
            image: (H, W, 3) uint8, no side smaller than the crop.
        """
        self._network.eval()
        size_px = self._crop_px
        starts = [
            np.linspace(0, side - size_px, min(_CROPS_ACROSS, -(-side // size_px))).round().astype(int)
            for side in image.shape[:2]
        ]
        crops = [image[y : y + size_px, x : x + size_px] for y in starts[0] for x in starts[1]]
        logit = float(self._network(self._tensor(crops)).double().mean())
        return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))

    @torch.no_grad()
    def _measure_norms(self, real: Sequence[Image], fake: Sequence[Image]) -> None:
        """Sets the means and variances of batch normalisation to those of the weights as they are at the end.

        The running ones lag behind, which moves the logits off 0 after few steps.
        """
        norms = [module for module in self._network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
        for number in range(1, _NORM_BATCHES + 1):
            for norm in norms:
                norm.momentum = 1 / number  # the plain mean over batches; torch's own, for None, waits for the device
            self._network(self._random_batch(real, fake))

    def _random_batch(self, real: Sequence[Image], fake: Sequence[Image]) -> Tensor:
        """Crops of random real images, then as many of generated ones, (B, 3, h, w)."""
        half = self._config.batch_size // 2
        numbers = [(side, number) for side in (real, fake) for number in self._rng.integers(len(side), size=half)]
        return self._tensor([self._random_crop(side[number]) for side, number in numbers])

    def _random_crop(self, image: Image) -> Image:
        y, x = (int(self._rng.integers(side - self._crop_px + 1)) for side in image.shape[:2])
        turns, flipped = self._rng.integers((4, 2))
        crop = np.rot90(image[y : y + self._crop_px, x : x + self._crop_px], turns)
        return crop[:, ::-1] if flipped else crop

    def _tensor(self, crops: Sequence[NDArray[np.uint8]]) -> Tensor:
        pixels = on_device(np.stack(crops), self._device)
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


class _PixelsAndDetail(nn.Module):
    """Pixels (B, 3, H, W), and their difference from the mean of 3 x 3 pixels: (B, 6, H, W)."""

    def forward(self, pixels: Tensor) -> Tensor:
        smooth = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        return torch.cat([pixels, _DETAIL_GAIN * (pixels - smooth)], dim=1)


def _network() -> nn.Sequential:
    layers: list[nn.Module] = [_PixelsAndDetail()]
    before = 6
    for channels, stride in _LAYERS:
        layers += [
            nn.Conv2d(before, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1))
