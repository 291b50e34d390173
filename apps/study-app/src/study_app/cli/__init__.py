"""The command line."""

import sys

from run_folder.cli.running import run_cli
from study_app.cli import imports, installations, results, studies
from study_app.cli.app import app
from study_app.errors import PACKAGES

__all__ = ["app", "imports", "installations", "main", "results", "studies"]


def main() -> None:
    """Runs the command line; an error that the user can mend becomes one line, with exit code 1."""
    run_cli(app, "study-app", PACKAGES, kept=_kept)


def _kept() -> str:
    is_import = any(word.startswith("import") for word in sys.argv[1:2])
    return "; what is imported is kept, go on with the same command" if is_import else ""
