"""Feature extractors in TorchScript files."""

import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pfid.device import ieee_float32
from pfid.errors import ExtractorError
from pfid.features.extractors import file_sha256

_PROBE_PX = 64


class TorchScriptExtractor:
    """A network in a TorchScript file, which resizes images itself.

    Args:
        path: The file. Its network takes RGB images (B, 3, H, W) uint8 and returns features (B, D).
        device: Device to compute on.

    Raises:
        ExtractorError: The file is missing, no TorchScript, or its network returns another shape.
    """

    resize = "by the network itself"

    def __init__(self, path: str | PathLike[str], *, device: str | torch.device = "cpu") -> None:
        self._path, self._device = Path(path), device
        if not self._path.is_file():
            raise ExtractorError(f"{path}: no such file")
        self._network = load_torchscript(self._path, device)
        shape = self(np.zeros((2, _PROBE_PX, _PROBE_PX, 3), np.uint8)).shape
        if len(shape) != 2 or shape[0] != 2:
            raise ExtractorError(f"{path}: gives {shape} for 2 images, wanted (2, D)")
        self.dimensions = shape[1]
        self.name = f"{self._path.name} (sha256 {file_sha256(self._path)[:12]})"

    @torch.no_grad()
    @ieee_float32()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, D) float32, of RGB images of one size, (B, H, W, 3) uint8.

        Raises:
            ExtractorError: The network fails with images of this size.
        """
        try:
            features = self._network(torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2))
            values: NDArray[np.float32] = features.float().cpu().numpy()
        except (RuntimeError, AttributeError) as error:
            size = f"{images.shape[2]} x {images.shape[1]} px"
            raise ExtractorError(f"{self._path}: fails with images of {size}: {_last_line(error)}") from None
        return values


def load_torchscript(path: Path, device: str | torch.device) -> Any:
    """Loads a TorchScript file, to be evaluated.

    Raises:
        ExtractorError: It cannot be read as TorchScript.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that TorchScript is old
        try:
            return torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        except (RuntimeError, AttributeError) as error:
            raise ExtractorError(f"{path}: cannot be read as TorchScript: {_last_line(error)}") from None


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
