"""Errors as one line for users."""

import errno
from collections.abc import Collection

DISK_FULL = "the disk is full; free some space and run again"


class UsageError(ValueError):
    """A request that cannot be carried out; the message names the cause and the remedy."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk is full, or the user's quota used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def user_message(error: BaseException, packages: Collection[str]) -> str | None:
    """The line that an application prints for an error, or None for a bug of the program.

    Args:
        error: The error.
        packages: Names of the packages whose own errors are for users, as are those of this package.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return DISK_FULL if is_disk_full(error) else f"{error.filename or 'file'}: {error.strerror}"
    if type(error).__module__.partition(".")[0] in {"run_folder", *packages}:
        return " ".join(str(error).split()) or first_line(error)
    return None
