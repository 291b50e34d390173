"""Errors of this app, and the one line that a user reads of an error."""

import run_folder

PACKAGES = ("cdm_core", "image_files", "urcdm", "urcdm_app", "wsi_tiling")


class NetworksFailedError(RuntimeError):
    """Networks whose training failed while others went on; the message names them."""


def user_message(error: BaseException) -> str | None:
    """Returns the line for an error that a user can mend, or None for a fault of the program."""
    return run_folder.user_message(error, PACKAGES)
