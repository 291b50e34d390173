"""The error of segmentation models; its message is one line that says what is wrong and what to do."""

from maskcond.errors import MaskcondError


class SegmentationError(MaskcondError):
    """A segmentation model that cannot be made, trained, found or used."""
