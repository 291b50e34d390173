"""The command line."""

import sys

from study_app.cli import imports, installations, results, studies
from study_app.cli.app import app
from study_app.console import errors
from study_app.errors import user_message

__all__ = ["app", "imports", "installations", "main", "results", "studies"]

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def main() -> None:
    """Runs the command line; what a user can mend is told in one line, with exit code 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            importing = any(word.startswith("import") for word in sys.argv[1:2])
            kept = "; what is imported is kept, go on with the same command" if importing else ""
            errors.print(f"stopped{kept}", style="yellow")
        raise
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        errors.print(f"study-app: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
