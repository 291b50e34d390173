from pathlib import Path

import numpy as np
import pytest

from maskcond import Instances

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def kumar_folder() -> Path:
    if not (REAL_DATA / "kumar").is_dir():
        pytest.skip(f"no real data at {REAL_DATA}")
    return REAL_DATA / "kumar"


@pytest.fixture
def nuclei() -> Instances:
    """Some fifty nuclei, many of which touch, some cut by the edge, 160 x 200 px."""
    generator = np.random.default_rng(5)
    rows, cols = np.indices((160, 200))
    instances = np.zeros((160, 200), np.int32)
    for number in range(1, 61):
        row, col, tall, wide = generator.uniform((0, 0, 6, 6), (160, 200, 14, 14))
        instances[((rows - row) / tall) ** 2 + ((cols - col) / wide) ** 2 < 1] = number
    return instances
