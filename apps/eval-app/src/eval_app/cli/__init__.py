"""The command line."""

import sys

from eval_app.cli import measuring, results
from eval_app.cli.app import app
from eval_app.console import errors
from eval_app.errors import user_message

__all__ = ["app", "main", "measuring", "results"]

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def main() -> None:
    """Runs the command line; what a user can mend is told in one line, with exit code 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            kept = "; what is measured is kept, go on with --resume" if sys.argv[1:2] == ["pfid"] else ""
            errors.print(f"stopped{kept}", style="yellow")
        raise
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        errors.print(f"eval-app: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
