"""From an error to the one line that a user reads."""

import run_folder

PACKAGES = ("cdm_core", "enrich_app", "image_files", "maskcond")


class UsageError(ValueError):
    """A request that cannot be carried out; the message names the cause, and what to do."""


def user_message(error: BaseException) -> str | None:
    """Returns the line for an error that a user can mend, or None for a fault of the program."""
    return run_folder.user_message(error, PACKAGES)
