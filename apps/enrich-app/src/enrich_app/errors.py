"""From an error to the one line that a user reads."""

from run_folder import is_disk_full

PACKAGES = ("cdm_core", "enrich_app", "image_files", "maskcond", "run_folder")


class UsageError(ValueError):
    """Something that was asked for cannot be done; the message says why and what to do."""


def user_message(error: BaseException) -> str | None:
    """Returns the line for an error that a user can mend, or None for a fault of the program."""
    if isinstance(error, OSError) and error.errno is not None:
        if is_disk_full(error):
            return "the disk is full; free some space and run again"
        return f"{error.filename or 'file'}: {error.strerror}"
    if type(error).__module__.partition(".")[0] in PACKAGES:
        return " ".join(str(error).split())
    return None
