"""Imports of optional libraries, which only some models need."""

from importlib import import_module
from types import ModuleType

from maskcond.segmentation.errors import SegmentationError


def import_extra(module: str, *, extra: str, use: str) -> ModuleType:
    """Imports a module of an optional dependency.

    Args:
        module: Full name of the module.
        extra: Extra of this package that installs the module.
        use: The user of the module, named in the message.

    Raises:
        SegmentationError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise SegmentationError(
            f"{use} needs {error.name}, which is not installed; install it with: pip install 'maskcond[{extra}]'"
        ) from None
