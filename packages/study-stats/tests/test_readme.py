import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    printed = re.search(r"The first table it prints:\n\n```\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert printed is not None
    command = [sys.executable, "-W", "error", "-c", example[1]]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(printed[1])
    assert (tmp_path / "readers.png").stat().st_size > 1000
