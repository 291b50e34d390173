"""From an error to the one line that a user reads."""

import run_folder

PACKAGES = ("image_files", "pfid", "study_app", "study_stats", "wsi_tiling")


def user_message(error: BaseException) -> str | None:
    """Returns the line for an error that a user can mend, or None for a fault of the program."""
    return run_folder.user_message(error, PACKAGES)
