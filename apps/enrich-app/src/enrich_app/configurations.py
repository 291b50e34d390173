"""`enrich-app plan`: configurations to start from."""

from importlib.resources import files

from run_folder import UsageError
from run_folder.cli.console import console

NAMES = ("kumar-small", "kumar-few", "kumar")


def configuration_text(name: str) -> str:
    """The text of a configuration.

    Raises:
        UsageError: The name is unknown.
    """
    if name not in NAMES:
        raise UsageError(f"no configuration '{name}'; known names are {', '.join(NAMES)}")
    return (files("enrich_app") / "configs" / f"{name}.toml").read_text(encoding="utf-8")


def print_configuration(name: str) -> None:
    """Prints a configuration.

    Raises:
        UsageError: The name is unknown.
    """
    console.print(configuration_text(name), end="", markup=False, highlight=False, soft_wrap=True)
