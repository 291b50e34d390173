"""The feature extractor of a command."""

from pathlib import Path
from typing import TYPE_CHECKING

from eval_app.console import follow
from eval_app.options import ExtractorOptions
from pfid import (
    Extractor,
    Features,
    Images,
    Inception,
    Light,
    TorchScriptExtractor,
    download_inception,
    extract_features,
)
from run_folder import UsageError
from run_folder.cli.console import say

if TYPE_CHECKING:
    import torch


def load_extractor(options: ExtractorOptions, device: "torch.device") -> Extractor:
    """Loads the extractor, and prints its name.

    Raises:
        UsageError: Options contradict each other.
        ExtractorError: The network is missing or cannot be read.
    """
    folder = options.inception_folder
    name = options.extractor or ("light" if folder is None else "inception")
    extractor: Extractor
    if name == "inception":
        if folder is None:
            raise UsageError("--extractor inception: give the folder of its file, --inception-folder")
        extractor = Inception(download_inception(folder) if options.download else folder, device=device)
    elif folder is not None or options.download:
        raise UsageError(f"--inception-folder and --download are for --extractor inception, not {name}")
    elif name == "light":
        extractor = Light(device=device)
    elif Path(name).is_file():
        extractor = TorchScriptExtractor(name, device=device)
    else:
        raise UsageError(f"--extractor {name}: no such file; give 'light', 'inception' or a TorchScript file")
    say(f"extractor: {extractor.name}")
    return extractor


def features_of(images: Images, extractor: Extractor, options: ExtractorOptions, title: str) -> Features:
    """Extracts features behind a progress bar.

    Raises:
        ImageError: Images are unreadable and not to be skipped.
    """
    return follow(extract_features(images, extractor, batch_size=options.batch), {"images": title})
