"""Errors of a study besides bad input."""

from run_folder import UsageError


class NoStudyError(UsageError):
    """There is no such study, or none that this reader may know of."""


class Conflict(UsageError):  # noqa: N818 - HTTP's word for it
    """A request that does not fit the state: another tab answered, or the study was closed."""
