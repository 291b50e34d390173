"""The errors a user can meet; each message is one line that says what is wrong and what to do."""


class MaskcondError(ValueError):
    """Masks, images or settings that do not fit together."""


class MaskError(MaskcondError):
    """A mask of the wrong form, or with numbers that mean nothing."""


class AnnotationError(MaskcondError):
    """A file of outlines that cannot be read, or outlines that are not of the image at hand."""


class ImageSetError(MaskcondError):
    """Annotated images that are missing, damaged, do not pair, or are in two splits at once."""


class ConditionError(MaskcondError):
    """A condition, or a value of one, that is not known."""
