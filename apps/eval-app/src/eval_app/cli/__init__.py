"""The command line."""

import sys

from eval_app.cli import commands
from eval_app.cli.app import app
from run_folder.cli.running import run_cli

__all__ = ["app", "commands", "main"]

_PACKAGES = ("eval_app", "image_files", "maskcond", "pfid", "wsi_tiling")


def main() -> None:
    """Runs the command line; an error that the user can mend becomes one line, with exit code 1."""
    run_cli(app, "eval-app", _PACKAGES, kept=_kept, message=_message)


def _kept() -> str:
    return "; features are kept, go on with --resume" if sys.argv[1:2] == ["pfid"] else ""


def _message(error: Exception) -> str | None:
    """The line for too few images, which names the option."""
    from pfid import TooFewError

    if isinstance(error, TooFewError):
        return f"{error} (--allow-few), and the value then depends on their number"
    return None
