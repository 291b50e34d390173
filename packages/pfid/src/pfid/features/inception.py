"""The Inception-v3 of clean-fid, with its resizing: the usual extractor of FID."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pfid.device import ieee_float32, on_device
from pfid.errors import ExtractorError
from pfid.features.extractors import RESIZE, file_sha256, resize_clean
from pfid.features.torchscript import load_torchscript

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""Checksum of the file that clean-fid downloads."""
INPUT_PX = 299


class Inception:
    """Pooled features of Inception-v3, 2,048 of them, as clean-fid's mode 'clean' has them.

    The network is the TorchScript file that clean-fid and StyleGAN measure with; `download_inception` fetches it.

    Args:
        path: The file, or its folder.
        device: Device to compute on.
        sha256: The checksum that the file must have; None accepts any. Metric values carry its checksum.

    Raises:
        ExtractorError: There is no such file, or it is another one.

    Source: Parmar et al. 2022, 'On Aliased Resizing and Surprising Subtleties in GAN Evaluation'.
    """

    dimensions = 2048
    resize = RESIZE.format(INPUT_PX)

    def __init__(
        self, path: str | Path, *, device: str | torch.device = "cpu", sha256: str | None = INCEPTION_SHA256
    ) -> None:
        path = Path(path)
        if path.is_dir():
            path = path / INCEPTION_FILE
        if not path.is_file():
            raise ExtractorError(f"{path}: no such file; pfid.download_inception fetches it with clean-fid")
        digest = file_sha256(path)
        if sha256 is not None and digest != sha256:
            raise ExtractorError(f"{path}: its sha256 is {digest}, not {sha256}; sha256=None accepts any")
        self.name = f"Inception-v3 of 2015-12-05 (sha256 {digest[:12]})"
        self._device = device
        try:
            self._layers = load_torchscript(path, device).layers
        except AttributeError:
            raise ExtractorError(f"{path}: has no 'layers', as clean-fid's network has") from None

    @torch.no_grad()
    @ieee_float32()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, 2048) float32, of RGB images of one size, (B, H, W, 3) uint8."""
        inputs = on_device(resize_clean(images, INPUT_PX), self._device).permute(0, 3, 1, 2)
        features: torch.Tensor = self._layers.forward((inputs - 128) / 128)
        values: NDArray[np.float32] = features.reshape(len(images), self.dimensions).float().cpu().numpy()
        return values


def download_inception(folder: str | Path) -> Path:
    """Downloads the network's file with clean-fid (`pip install pfid[inception]`), unless it exists.

    Args:
        folder: Folder to keep it in; made if missing.

    Returns:
        The file.

    Raises:
        ExtractorError: clean-fid is not installed, or the file cannot be downloaded.
    """
    try:
        from cleanfid.downloads_helper import check_download_inception
    except ImportError:
        raise ExtractorError("clean-fid fetches the network: pip install 'pfid[inception]'") from None
    path = Path(folder) / INCEPTION_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.exists()
    try:
        check_download_inception(str(folder))
    except BaseException as error:
        if not known:
            path.unlink(missing_ok=True)  # clean-fid accepts any file of that name as complete
        if not isinstance(error, OSError):
            raise
        raise ExtractorError(f"{INCEPTION_FILE} cannot be fetched: {error}") from None
    return path
