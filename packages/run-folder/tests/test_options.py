import inspect
from dataclasses import dataclass
from typing import Annotated, get_args

from run_folder.options import takes_options


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Options of all commands."""

    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Own(Shared):
    """Options of one command."""

    name: Annotated[str, "help"]
    size: int = 3


def test_a_command_gets_one_object_of_its_options() -> None:
    got: list[Own] = []

    @takes_options(Own)
    def command(options: Own) -> None:
        """Does it."""
        got.append(options)

    command(name="a", seed=4)
    assert got == [Own(name="a", seed=4)]
    assert command.__doc__ == "Does it."
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["name", "size", "seed"]  # its own first
    assert parameters["name"].default is inspect.Parameter.empty
    assert parameters["size"].default == 3
    assert get_args(parameters["name"].annotation) == (str, "help")


def test_options_of_two_commands_do_not_mix() -> None:
    both = [takes_options(kind)(lambda options: None) for kind in (Own, Shared)]
    assert [list(inspect.signature(command).parameters) for command in both] == [["name", "size", "seed"], ["seed"]]
