"""Running a command line: errors that a user can mend become one line."""

import os
import sys
from collections.abc import Callable, Collection

from run_folder.cli.console import errors
from run_folder.errors import user_message

_INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def run_cli(
    app: Callable[[], None],
    name: str,
    packages: Collection[str],
    *,
    kept: Callable[[], str] = str,
    message: Callable[[Exception], str | None] = lambda error: None,
) -> None:
    """Runs a command line. An error that the user can mend is printed in one line, with exit code 1.

    Args:
        app: The command line, such as a `typer.Typer`.
        name: Name of the application, which begins the line.
        packages: Names of the packages whose own errors are for users.
        kept: Returns the words after 'stopped' when Ctrl-C was pressed: how to continue.
        message: Returns the application's own line for an error; None for that of `run_folder.user_message`.
    """
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED and os.environ.get("RANK", "0") == "0":  # of several processes, the main one
            errors.print(f"stopped{kept()}", style="yellow")
        raise
    except Exception as error:
        line = message(error) or user_message(error, packages)
        if line is None:
            raise
        errors.print(f"{name}: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
