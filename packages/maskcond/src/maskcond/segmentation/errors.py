"""The error of segmentation models; its message is one line with the cause and the remedy."""

from maskcond.errors import MaskcondError


class SegmentationError(MaskcondError):
    """A segmentation model that is missing, or cannot be made, trained or used."""
