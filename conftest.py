"""What the tests of all apps share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


RunApp = Callable[..., Outcome]


@pytest.fixture
def run_app(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> RunApp:
    """Runs the command line of the app whose test this is, in this process; `piped` is its standard input."""
    app = request.path.relative_to(Path(__file__).parent / "apps").parts[0]
    main = import_module(f"{app.replace('-', '_')}.cli").main

    def run(*arguments: str | Path | int, piped: str = "") -> Outcome:
        monkeypatch.setattr(sys, "argv", [app, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", StringIO(piped))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    return run
