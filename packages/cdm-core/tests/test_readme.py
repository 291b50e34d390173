import re
import subprocess
import sys
from pathlib import Path

import torch

from cdm_core import Cascade

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    script = "import torch\ntorch.set_num_threads(1)\n" + example[1]
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (images,) = Cascade.load(tmp_path / "model").sample([torch.Generator()], steps=1)[1:]
    assert images.shape == (1, 3, 16, 16)
