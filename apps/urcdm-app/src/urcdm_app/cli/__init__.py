"""The command line."""

import sys

from urcdm_app.cli import slides, training
from urcdm_app.cli.app import app
from urcdm_app.console import errors
from urcdm_app.errors import user_message

__all__ = ["app", "main", "slides", "training"]

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def main() -> None:
    """Runs the command line; what a user can mend is told in one line, with exit code 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            errors.print("stopped; what is done is kept, go on with --resume", style="yellow")
        raise
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        errors.print(f"urcdm-app: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
