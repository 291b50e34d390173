"""The Inception-v3 of clean-fid, with its resizing: what FID is by default."""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pfid.device import on_device
from pfid.errors import ExtractorError
from pfid.features.extractors import RESIZE, file_sha256, resize_clean

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
"""Checksum of the file that clean-fid downloads."""
INPUT_PX = 299


class Inception:
    """Pooled features of Inception-v3, 2,048 of them, as clean-fid's mode 'clean' has them.

    The network is the TorchScript file that clean-fid and StyleGAN measure with; `download_inception` fetches it.

    Args:
        path: The file, or the folder that it lies in under its own name.
        device: Where to calculate.
        sha256: The checksum that the file must have; None takes any. Figures carry the checksum that it has.

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
        found = file_sha256(path)
        if sha256 is not None and found != sha256:
            raise ExtractorError(f"{path}: its sha256 is {found}, not {sha256}; sha256=None takes it all the same")
        self.name = f"Inception-v3 of 2015-12-05 (sha256 {found[:12]})"
        self._device = device
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that TorchScript is old is known
                self._layers = torch.jit.load(path, map_location=device).eval().layers  # type: ignore[no-untyped-call]
        except (RuntimeError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
            raise ExtractorError(f"{path}: cannot be read as that TorchScript network: {reason}") from None

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features, (B, 2048) float32, of RGB images of one size, (B, H, W, 3) uint8."""
        inputs = on_device(resize_clean(images, INPUT_PX), self._device).permute(0, 3, 1, 2)
        features: torch.Tensor = self._layers.forward((inputs - 128) / 128)
        found: NDArray[np.float32] = features.reshape(len(images), self.dimensions).float().cpu().numpy()
        return found


def download_inception(folder: str | Path) -> Path:
    """Fetches the network's file with clean-fid (`pip install pfid[inception]`), unless it is there already.

    Args:
        folder: Where to keep it; it is made if need be.

    Returns:
        The file.

    Raises:
        ExtractorError: clean-fid is not installed, or the file is not to be had.
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
            path.unlink(missing_ok=True)  # clean-fid takes any file of that name for the whole
        if not isinstance(error, OSError):
            raise
        raise ExtractorError(f"{INCEPTION_FILE} cannot be fetched: {error}") from None
    return path
