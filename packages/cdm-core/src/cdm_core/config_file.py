"""Configurations as plain values, which is what TOML holds: read with errors that help, and written."""

import dataclasses
import difflib
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cdm_core.errors import ConfigError

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid")
"""Of the pydantic dataclasses that configurations are: an unknown field is an error."""
NETWORK_KINDS = {"imagen": "UnetConfig", "latent": "LatentUnetConfig"}
"""The tags that pydantic puts into the location of an error below a network, and the class of each."""


def read_toml(path: Path, *, missing: str = "no such file") -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        path: The file.
        missing: The error's text, after the path, if there is no such file.

    Raises:
        ConfigError: The file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: {missing}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error})") from None


def parse_config(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Makes a configuration of the given dataclass from plain values, as read from TOML.

    Args:
        kind: The dataclass.
        values: Its fields, nested.
        source: The file the values were read from, for error messages.

    Raises:
        ConfigError: An unknown key (with the nearest known one), a missing or a wrong value; one line.
    """
    adapter = TypeAdapter(kind)
    try:
        config = adapter.validate_python(values)
    except ValidationError as error:
        raise _config_error(kind, error, source, "the file") from None
    if wrong := _booleans_for_numbers(values, adapter.dump_python(config)):
        raise ConfigError(f"{source}: {wrong[0]}: wanted a number, got true or false")
    return config


def one_line_errors(kind: type[T]) -> type[T]:
    """Lets a pydantic dataclass that is made in Python raise a `ConfigError` of one line, as `parse_config` does."""
    make = kind.__init__

    @functools.wraps(make)
    def checked(self: T, *arguments: Any, **fields: Any) -> None:
        try:
            make(self, *arguments, **fields)
        except ValidationError as error:
            raise _config_error(kind, error, kind.__name__, "") from None

    made: Any = kind
    made.__init__ = checked
    return kind


def _config_error(kind: type[Any], error: ValidationError, source: str, whole: str) -> ConfigError:
    """Makes one line of the faults of a configuration; `whole` is what it is called where no field is at fault."""
    # An unknown key is often a known one misspelt, which is then missing: it is reported first.
    first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
    location = list(first["loc"])
    if location and isinstance(location[0], int):  # an argument by its position
        location[0] = dataclasses.fields(kind)[location[0]].name
    where = ".".join(str(part) for part in location if part not in NETWORK_KINDS) or whole
    if first["type"] == "unexpected_keyword_argument":
        known = _known_keys(kind, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.0)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return ConfigError(f"{source}: unknown key '{where}'{hint}")
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ConfigError(": ".join(part for part in (source, where, message) if part) + more)


def _booleans_for_numbers(values: Any, taken: Any, where: str = "") -> list[str]:
    """Returns where values from a file are booleans that pydantic has taken for 0 and 1."""
    if isinstance(values, Mapping) and isinstance(taken, Mapping):
        known = {str(name): value for name, value in taken.items()}
        items = [(str(name), value, known.get(str(name))) for name, value in values.items()]
    elif isinstance(values, (list, tuple)) and isinstance(taken, (list, tuple)):
        items = [(str(number), *pair) for number, pair in enumerate(zip(values, taken, strict=False))]
    else:
        wrong = isinstance(values, bool) and isinstance(taken, (int, float)) and not isinstance(taken, bool)
        return [where] if wrong else []
    faults = (_booleans_for_numbers(value, number, f"{where}.{name}".strip(".")) for name, value, number in items)
    return [fault for some in faults for fault in some]


def dump_config(config: object) -> dict[str, Any]:
    """Returns a configuration's fields as plain values for TOML, without those that are None."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json", exclude_none=True)
    return values


def _known_keys(kind: Any, location: tuple[int | str, ...]) -> list[str]:
    """Returns the field names of the dataclass at a location inside `kind`."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for option in (node, *node.get("anyOf", ()), *node.get("allOf", ()), *node.get("oneOf", ())):
            if "$ref" in option:
                target: dict[str, Any] = definitions[option["$ref"].rsplit("/", 1)[-1]]
                return target
        return node

    node = resolve(schema)
    for part in location:
        if part in NETWORK_KINDS:
            node = definitions[NETWORK_KINDS[str(part)]]
            continue
        items = node.get("items") or node.get("additionalProperties") or {}
        node = resolve(items if isinstance(part, int) else node.get("properties", {}).get(part, items))
    return list(node.get("properties", {}))


def check_counts(config: object, *names: str) -> None:
    """Checks that fields, where they are given as numbers, are at least 1.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        if isinstance(value := getattr(config, name), int) and value < 1:
            raise ValueError(f"{name} is at least 1, got {value}")
