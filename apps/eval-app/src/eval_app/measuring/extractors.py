"""Which network gives the features."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pfid import CallableExtractor, Extractor
from run_folder import UsageError, file_sha256
from run_folder.cli.console import say

if TYPE_CHECKING:
    import torch

_PROBE_PX = 64


@dataclass(frozen=True)
class ExtractorChoice:
    """What the command line says of the extractor.

    Attributes:
        extractor: 'light', 'inception' or a file; None for Inception if its folder is told, else light.
        inception_folder: Where Inception's file is, or is to be.
        download: Whether to fetch that file first.
    """

    extractor: str | None
    inception_folder: Path | None
    download: bool

    def load(self, device: "torch.device") -> Extractor:
        """Returns the extractor, and says which it is.

        Raises:
            UsageError: Options contradict each other, or a file is no network.
            ExtractorError: The network is not there, or is another one.
        """
        from pfid import Inception, Light, download_inception

        chosen = self.extractor or ("light" if self.inception_folder is None else "inception")
        folder = self.inception_folder
        if chosen != "inception":
            if folder is not None or self.download:
                raise UsageError(f"--inception-folder and --download are for --extractor inception, not {chosen}")
            found: Extractor = Light(device=device) if chosen == "light" else _torchscript(Path(chosen), device)
        elif folder is None:
            raise UsageError("--extractor inception: tell where its file is, or is to be, with --inception-folder")
        else:
            found = Inception(download_inception(folder) if self.download else folder, device=device)
        say(f"extractor: {found.name}")
        return found


def _torchscript(path: Path, device: "torch.device") -> Extractor:
    """A network in a TorchScript file, which resizes images as it likes."""
    import torch

    if not path.is_file():
        raise UsageError(f"--extractor {path}: no such file; wanted 'light', 'inception' or a TorchScript file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is old is known
        try:
            network: Any = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise UsageError(f"--extractor {path}: cannot be read as TorchScript: {_last_line(error)}") from None

    @torch.no_grad()
    def features(images: NDArray[np.uint8]) -> NDArray[Any]:
        try:
            found = network(torch.from_numpy(images).to(device).permute(0, 3, 1, 2))
            values: NDArray[Any] = found.float().cpu().numpy()
        except (RuntimeError, AttributeError) as error:
            size = f"{images.shape[2]} x {images.shape[1]} px"
            raise UsageError(f"--extractor {path}: fails with images of {size}: {_last_line(error)}") from None
        return values

    shape = features(np.zeros((2, _PROBE_PX, _PROBE_PX, 3), np.uint8)).shape
    if len(shape) != 2 or shape[0] != 2:
        raise UsageError(f"--extractor {path}: gives {shape} for 2 images, wanted (2, D)")
    name = f"{path.name} (sha256 {file_sha256(path)[:12]})"
    return CallableExtractor(features, name, shape[1], "by the network itself")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
