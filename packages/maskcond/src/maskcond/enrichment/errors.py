"""The error of enrichment; its message is one line with the cause and the remedy."""

from maskcond.errors import MaskcondError


class EnrichmentError(MaskcondError):
    """A run that cannot start or continue."""
