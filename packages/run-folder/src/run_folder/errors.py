"""From an error to the one line that a user reads."""

import errno

DISK_FULL = "the disk is full; free some space and run again"


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no space is left on the disk, or in the user's quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def os_error_line(error: OSError) -> str:
    """One line for an error of the operating system: the file and the cause, and what to do if the disk is full."""
    if is_disk_full(error):
        return DISK_FULL
    return f"{error.filename}: {error.strerror or first_line(error)}" if error.filename else first_line(error)
