"""Command-line options as one object."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from functools import wraps
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def takes_options(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Turns a command that takes an options object into one that takes each of its fields, as typer expects.

    So each option is defined once: as a field, with its help and its default. Fields of a class come before inherited
    ones.

    Args:
        options: Dataclass whose fields are annotated as parameters of a typer command.
    """

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @wraps(command)
        def with_fields(**values: Any) -> None:
            command(options(**values))

        hints = get_type_hints(options, include_extras=True)
        parameters = [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name])
            for field in _own_first(options)
        ]
        with_fields.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        with_fields.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_fields

    return decorate


def _own_first(options: type) -> Iterator[Field[Any]]:
    by_name = {field.name: field for field in fields(options)}
    for owner in options.__mro__:
        for name in vars(owner).get("__annotations__", {}):
            if name in by_name:
                yield by_name.pop(name)


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
