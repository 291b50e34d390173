import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_files import Departure

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102
    assert names["info"].size_px == (64, 48)
    assert names["info"].departures == (Departure.GREY,)
    assert np.unique(names["image"]).tolist() == [200]
    assert np.unique(names["numbers"]).tolist() == [700]
