"""The command line itself, and how a command is made of its options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

import typer

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
        kind: The class of the object, a dataclass whose fields are annotated for typer. Its fields' order is the
            order of the help text.
        name: The name of the command; the function's if None.
    """
    hints = get_type_hints(kind, include_extras=True)

    def register(function: Callable[[Options], None]) -> Callable[[Options], None]:
        def run(**values: Any) -> None:
            function(kind(**values))

        run.__name__, run.__doc__, run.__annotations__ = function.__name__, function.__doc__, hints
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(kind)  # type: ignore[arg-type]
        )
        app.command(name)(run)
        return function

    return register
