"""A few readers at once, and a server that is killed while they answer; see `benchmarks/study_load.py`."""

import json
import subprocess
import sys
from pathlib import Path

LOAD = Path(__file__).with_name("benchmarks") / "study_load.py"
READERS, PAIRS = 10, 3  # more readers than the server has threads


def test_a_server_that_is_killed_under_load_loses_nothing_it_confirmed() -> None:
    arguments = ["--readers", str(READERS), "--pairs", str(PAIRS), "--pixels", "32", "--kill"]
    command = [sys.executable, "-W", "error", str(LOAD), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    assert figures["answers"] == READERS * PAIRS
    assert figures["killed"]["held"] >= figures["killed"]["confirmed"] >= READERS * PAIRS // 2
    assert figures["milliseconds"]["answers"]["requests"] >= READERS * PAIRS
