"""The command line itself, and how a command is made of its options."""

from collections.abc import Callable
from typing import TypeVar

import typer

from run_folder.options import takes_options

Options = TypeVar("Options")

app = typer.Typer(
    name="urcdm-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Generate whole histology slides with an ultra-resolution cascade of diffusion models.

Start with **urcdm-app sample**: it samples a slide with the small built-in model, in about a minute on two CPU cores.

For your own slides: **tile** finds the tissue, **train** trains a model on it, **sample** samples from that model,
**view** shows slides side by side in the browser. **export** makes image files of tiles, for other trainers.
""",
)


def command(
    kind: type[Options], name: str | None = None
) -> Callable[[Callable[[Options], None]], Callable[[Options], None]]:
    """Registers a function of one frozen object as a command; each field of the object is an option of it.

    Args:
        kind: The class of the object, a dataclass whose fields are annotated for typer.
        name: Name of the command; that of the function if None.
    """

    def register(function: Callable[[Options], None]) -> Callable[[Options], None]:
        app.command(name)(takes_options(kind)(function))
        return function

    return register
