import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from run_folder.cli.testing import app_fixture

run_app = app_fixture("eval-app")


class MeanColours(torch.nn.Module):
    """Mean and spread of each colour: six features."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = images.float().flatten(2) / 255
        return torch.cat([values.mean(2), values.std(2)], 1)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file with six features."""
    path = tmp_path_factory.mktemp("network") / "colours.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(MeanColours()).save(path)  # type: ignore[no-untyped-call]
    return path


def noise(seed: int, size: tuple[int, int] = (48, 48), brightest: int = 256) -> NDArray[np.uint8]:
    """Coarse and fine noise with a colour of its own, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = PIL.Image.fromarray(rng.integers(0, brightest, (height // 12, width // 12, 3), dtype=np.uint8))
    fine = rng.integers(0, 20, (height, width, 3))
    return (np.asarray(coarse.resize(size)) * rng.uniform(0.6, 0.9, 3) + fine).astype(np.uint8)


def write_pictures(folder: Path, seeds: range, size: tuple[int, int] = (48, 48), brightest: int = 256) -> Path:
    """Fills a folder with pictures."""
    folder.mkdir(parents=True)
    for seed in seeds:
        PIL.Image.fromarray(noise(seed, size, brightest)).save(folder / f"{seed:03d}.png")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: 'real' and 'other' of one kind, 'dark' of another, 24 pictures each."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "real", range(24))
    write_pictures(root / "other", range(100, 124))
    write_pictures(root / "dark", range(200, 224), brightest=120)
    return root


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small slides: purple noise on glass, 'a.tiff' and 'b.tiff'."""
    from wsi_tiling import PyramidWriter

    root = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a", "b")):
        pixels = np.full((384, 512, 3), 243, np.uint8)
        pixels[64:320, 128:384] = noise(seed, (256, 256)) // 4 + np.array([150, 70, 140], np.uint8)
        with PyramidWriter(root / f"{name}.tiff", (512, 384), mpp=0.5) as writer:
            writer.write((0, 0), pixels)
    return root
