from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi_tiling import Image

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}")
    return REAL_DATA


@pytest.fixture(scope="session")
def picture() -> Image:
    """A 700 x 500 px picture with structure at several scales, no two parts alike."""
    y, x = np.mgrid[:500, :700]
    noise = np.random.default_rng(7).integers(0, 40, (500, 700, 3))
    waves = np.stack([x * 200 / 700, y * 200 / 500, 100 + 90 * np.sin(x / 19) * np.cos(y / 23)], axis=-1)
    return (waves + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def tiled_tiff(tmp_path: Path, picture: Image) -> Path:
    """A tiled TIFF file, exact, one level, 0.5 um/px: OpenSlide opens it."""
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(
        path, picture, tile=(128, 128), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
    )
    return path
