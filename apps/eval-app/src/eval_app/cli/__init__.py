"""The command line."""

import sys

from eval_app.cli import measuring, results
from eval_app.cli.app import app
from run_folder.cli.running import run_cli

__all__ = ["app", "main", "measuring", "results"]

_PACKAGES = ("eval_app", "image_files", "maskcond", "pfid", "wsi_tiling")


def main() -> None:
    """Runs the command line; an error that the user can mend becomes one line, with exit code 1."""
    run_cli(app, "eval-app", _PACKAGES, kept=_kept)


def _kept() -> str:
    return "; what is measured is kept, go on with --resume" if sys.argv[1:2] == ["pfid"] else ""
