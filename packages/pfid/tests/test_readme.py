import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    script = "import torch\ntorch.set_num_threads(1)\n" + example[1]
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("FID ")
    assert "20 real, 20 generated; EfficientNet-Lite0 (sha256 579344248a93)" in result.stdout
