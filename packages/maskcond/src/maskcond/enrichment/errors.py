"""The error of enrichment; its message is one line that says what is wrong and what to do."""

from maskcond.errors import MaskcondError


class EnrichmentError(MaskcondError):
    """A run that cannot be made, or cannot go on."""
