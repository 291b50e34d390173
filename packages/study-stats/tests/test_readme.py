import doctest
import re
import subprocess
import sys
from pathlib import Path

from study_stats import SingleCounts
from study_stats.analyses import discrimination, realism

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    first, *others = re.findall(r"prints:\n\n```\n(.*?)```", text, re.DOTALL)
    assert (len(examples), len(others)) == (2, 1)
    command = [sys.executable, "-W", "error", "-c", "".join(examples)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(first)
    assert result.stdout.endswith(others[0])
    assert (tmp_path / "readers.png").stat().st_size > 1000


def test_the_examples_in_docstrings_are_true() -> None:
    for module in (realism, discrimination):
        found = doctest.testmod(module, extraglobs={"SingleCounts": SingleCounts})
        assert (found.failed, found.attempted) == (0, 1)
