"""Arguments and options that several commands share, and how passwords are asked for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from study_app.settings import read_text

Folder = Annotated[Path, typer.Argument(help="Folder of the installation.", show_default=False)]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of the study.", show_default=False)]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line is the password.",
        show_default="asked for; the first line of the input, if that is no terminal",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def read_password(file: Path | None, name: str) -> str:
    """Reads a new password from a file, from the terminal, or from what is piped in."""
    if file is not None:
        return first_line(read_text(file))
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    return first_line(sys.stdin.readline())


def first_line(text: str) -> str:
    """The first line of a text, without its end."""
    return (text.splitlines() or [""])[0]
