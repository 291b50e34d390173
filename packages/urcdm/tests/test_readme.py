import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from urcdm import Urcdm
from wsi_tiling import open_slide

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(make_model: Callable[..., Urcdm], tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    make_model().save(tmp_path / "model")
    command = [sys.executable, "-W", "error", "-c", example[1]]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with open_slide(tmp_path / "slide.tiff") as slide:
        assert slide.size_l0 == (192, 128)
