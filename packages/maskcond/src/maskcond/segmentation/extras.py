"""Libraries that only one model needs, and that may be missing."""

from importlib import import_module
from types import ModuleType

from maskcond.segmentation.errors import SegmentationError


def import_extra(module: str, *, extra: str, use: str) -> ModuleType:
    """Imports a module of an optional dependency.

    Args:
        module: Its full name.
        extra: The extra of this package that installs it.
        use: What needs it, for the message.

    Raises:
        SegmentationError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise SegmentationError(
            f"{use} needs {error.name}, which is not installed; install it with: pip install 'maskcond[{extra}]'"
        ) from None
