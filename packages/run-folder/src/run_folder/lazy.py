"""Names of a package that are imported when they are first asked for."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package some of whose names take long to import.

    The package imports the same names under `TYPE_CHECKING` and lists them in `__all__`:

        __getattr__ = lazy_names(__name__, {"training.loop": ["train_stage"]})

    Args:
        package: Its name.
        modules: Modules of the package, by their names within it, and what each of them has.

    Returns:
        A function that imports a name's module, leaves the name in the package, and returns it. For any other name it
        raises an `AttributeError`.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
