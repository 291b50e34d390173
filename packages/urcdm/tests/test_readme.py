import re
from collections.abc import Callable
from pathlib import Path

import pytest

from urcdm import Urcdm
from wsi_tiling import open_slide

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(
    make_model: Callable[..., Urcdm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    make_model().save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    exec(example[1], {})  # noqa: S102
    with open_slide(tmp_path / "slide.tiff") as slide:
        assert slide.size_l0 == (192, 128)
