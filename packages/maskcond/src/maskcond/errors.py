"""Errors that a user can meet; each message is one line with the cause and the remedy."""


class MaskcondError(ValueError):
    """Masks, images or settings that do not fit together."""


class MaskError(MaskcondError):
    """A mask of the wrong form, or with numbers that mean nothing."""


class AnnotationError(MaskcondError):
    """A file of outlines that cannot be read, or outlines that belong to another image."""


class ImageSetError(MaskcondError):
    """Annotated images that are missing, damaged, do not pair, or are in two splits at once."""


class ConditionError(MaskcondError):
    """An unknown condition, or an unknown value of one."""
