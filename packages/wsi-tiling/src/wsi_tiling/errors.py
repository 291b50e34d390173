"""The one error that this package raises for bad slides, tables and files."""


class SlideError(ValueError):
    """A slide, an image or a tile table cannot be used. The message, one line, says why and what to do."""
