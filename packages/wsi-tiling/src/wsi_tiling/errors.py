"""The one error that this package raises for bad slides, tables and files."""


class SlideError(ValueError):
    """A slide, a picture or a tile table cannot be used. The message, one line, says why and what to do."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
