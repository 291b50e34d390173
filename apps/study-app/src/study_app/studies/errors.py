"""Errors of a study besides bad input."""

from run_folder import UsageError


class NoStudyError(UsageError):
    """A study that does not exist, or that this reader may not see."""


class Conflict(UsageError):  # noqa: N818 - HTTP's word for it
    """A request that does not fit the current state, because another tab answered or the study was closed."""
