"""How far drawn images are from real ones, by measures that share nothing with each other.

KID and the Frechet distance on the features of a pretrained network (`light`) and on the energies of Gabor filters
(`texture`), the log power spectrum, and sharpness. Used by the other benchmarks.
"""

from collections.abc import Callable

import numpy as np
import torch
from few_steps import Images, extractor, kid
from numpy.typing import NDArray
from skimage.filters import gabor_kernel
from torch import Tensor

from urcdm import sharpness

FREQUENCIES, ORIENTATIONS = (0.06, 0.12, 0.24, 0.45), 6
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, -0.5, 0), (0.25, 0.25, -0.5))
"""Grey, red against green, yellow against blue."""


def texture(images: Images) -> Tensor:
    """Log mean and log spread of the energy of Gabor filters, and each channel's mean and spread, (N, 150), float64.

    Source: Manjunath and Ma 1996, 'Texture features for browsing and retrieval of image data', section III.
    """
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    channels = torch.einsum("nchw,oc->nohw", pixels, torch.tensor(OPPONENT))
    found = [channels.mean(dim=(2, 3)), channels.std(dim=(2, 3))]
    for frequency in FREQUENCIES:
        for turn in range(ORIENTATIONS):
            kernel = torch.from_numpy(gabor_kernel(frequency, theta=np.pi * turn / ORIENTATIONS))
            parts = torch.stack((kernel.real, kernel.imag)).float()[:, None]
            response = torch.nn.functional.conv2d(channels.reshape(-1, 1, *channels.shape[2:]), parts)
            energy = response.square().sum(dim=1).sqrt().reshape(*channels.shape[:2], -1)
            found += [(energy.mean(dim=2) + 1e-4).log(), (energy.std(dim=2) + 1e-4).log()]
    return torch.cat(found, dim=1).double()


def frechet(a: Tensor, b: Tensor) -> float:
    """The Frechet distance of two sets of features; biased upwards where there are few."""
    apart, (one, other) = a.mean(0) - b.mean(0), (x - x.mean(0) for x in (a, b))
    scale = ((len(a) - 1) * (len(b) - 1)) ** 0.5
    cross = torch.linalg.matrix_norm(one @ other.T, "nuc") / scale
    return float(
        apart.square().sum() + one.square().sum() / (len(a) - 1) + other.square().sum() / (len(b) - 1) - 2 * cross
    )


def log_spectrum(images: Images) -> NDArray[np.float64]:
    """Log power by radius, mean over images, in steps of one cycle an image, without the mean."""
    grey = images.astype(np.float64).mean(axis=3)
    side = grey.shape[1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = (np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window))) ** 2).mean(0)
    y, x = np.indices(power.shape) - side // 2
    radius = np.hypot(x, y).astype(int)
    sums = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    spectrum: NDArray[np.float64] = np.log(sums[1 : side // 2])
    return spectrum


def measures(real: Images) -> Callable[[Images], dict[str, float]]:
    """Returns what measures images against real ones; the i-th of both may share their conditions."""
    light = extractor()
    real_light, real_texture, spectrum = light(real), texture(real), log_spectrum(real)
    centre, spread = real_texture.mean(0), real_texture.std(0)
    real_texture = (real_texture - centre) / spread
    sharp = sharpness(np.concatenate(list(real), axis=1))

    def measure(images: Images) -> dict[str, float]:
        seen_light, seen_texture = light(images), (texture(images) - centre) / spread
        return {
            "kid_light": kid(seen_light, real_light),
            "frechet_light": frechet(seen_light, real_light),
            "kid_texture": kid(seen_texture, real_texture),
            "frechet_texture": frechet(seen_texture, real_texture),
            "spectrum": float(np.abs(log_spectrum(images) - spectrum).mean()),
            "sharpness": sharpness(np.concatenate(list(images), axis=1)) / sharp,
        }

    return measure
