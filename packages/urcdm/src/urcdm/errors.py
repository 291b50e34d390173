"""Errors for users; each message is one line with the cause and the remedy."""


class CanvasError(ValueError):
    """A canvas that cannot be read or written, or that belongs to another run."""


class CompilationError(ValueError):
    """A network that cannot be compiled here."""


class SettingsError(ValueError):
    """Settings of a run that do not go together, or not with the model."""


class SlideSizeError(ValueError):
    """A slide of a size that the model cannot sample."""


class TilesError(ValueError):
    """A tile table that does not fit the plan or the slides."""


class WorkerError(ValueError):
    """Workers that are not available, or lost repeatedly."""
