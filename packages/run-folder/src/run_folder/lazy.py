"""Names of a package that are imported on first use."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package with names that are slow to import.

    The package imports the same names under `TYPE_CHECKING` and lists them in `__all__`:

        __getattr__ = lazy_names(__name__, {"training.loop": ["train_stage"]})

    Args:
        package: Name of the package.
        modules: Names of each module, by the module's name within the package.

    Returns:
        A function that imports a name's module, stores the value in the package, and returns it. It raises an
        `AttributeError` for any other name.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
