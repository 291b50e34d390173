"""Command lines run inside tests. Needs `run-folder[testing]`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class CommandResult:
    """The end of a command: its exit code, and the text that it wrote."""

    code: int
    out: str
    err: str


def app_fixture(app: str) -> Any:
    """Returns a pytest fixture that runs an app's command line in the test's process; `piped` is its standard input.

    Args:
        app: The app, such as 'eval-app'; its package has `cli.main`.
    """

    @pytest.fixture
    def run_app(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
        main = import_module(f"{app.replace('-', '_')}.cli").main

        def run(*arguments: str | Path | int, piped: str = "") -> CommandResult:
            monkeypatch.setattr(sys, "argv", [app, *map(str, arguments)])
            monkeypatch.setattr(sys, "stdin", StringIO(piped))
            with pytest.raises(SystemExit) as ended:
                main()
            out, err = capfd.readouterr()
            return CommandResult(int(ended.value.code or 0), out, err)

        return run

    return run_app
