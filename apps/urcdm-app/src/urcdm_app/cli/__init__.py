"""The command line."""

import os
import sys

import typer.main

from run_folder import DISK_FULL, is_disk_full
from run_folder.cli.running import run_cli
from urcdm_app.cli import models, slides, training
from urcdm_app.cli.app import app
from urcdm_app.errors import PACKAGES

__all__ = ["app", "main", "models", "slides", "training"]


def main() -> None:
    """Runs the command line; errors that a user can mend are printed in one line, with exit code 1."""
    # Else Ray, under `uv run`, makes each worker an environment of its own, which takes minutes and lacks extras. Ray
    # reads this when it is imported.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    run_cli(app, "urcdm-app", PACKAGES, kept=_kept, message=_message)


def _kept() -> str:
    return "; what is done is kept, go on with --resume" if _resumes() else ""


def _message(error: Exception) -> str | None:
    """The line for an error that this application has its own words for."""
    if is_disk_full(error) and _resumes():
        return f"{DISK_FULL} with --resume"
    return _misspelt(error)


def _misspelt(error: Exception) -> str | None:
    """The line for a name on the command line whose bytes are no text, which pictures, tables and pages cannot hold."""
    if not isinstance(error, UnicodeEncodeError):
        return None
    names = (os.fsencode(word) for word in sys.argv[1:])
    shown = next((name.decode("utf-8", "backslashreplace") for name in names if not _is_utf8(name)), None)
    return shown and f"{shown}: the name is not valid UTF-8; rename it, or give another"


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _resumes() -> bool:
    """Whether the command that was called can go on where it was stopped."""
    command = typer.main.get_group(app).commands.get(next(iter(sys.argv[1:]), ""))
    return command is not None and any(parameter.name == "resume" for parameter in command.params)
