"""The error of this package, and the guard that turns other errors into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from run_folder import first_line


class ImageFileError(ValueError):
    """An image file cannot be read exactly. The message, one line, names the file, the cause and the remedy."""


class RefusedKindError(Exception):
    """A file is sound, but of a kind that is not read. Says why, without the file's name; `reading` adds that."""


class UnknownFormatError(Exception):
    """A file is of no format that is read."""


@contextmanager
def reading(path: str | PathLike[str]) -> Iterator[None]:
    """Raises `ImageFileError` in place of any error inside: damaged files make decoders fail anywhere."""
    if Path(path).is_fifo():  # opening one would wait for a writer for ever
        raise ImageFileError(f"{path} is a pipe; save the image in a file")
    try:
        yield
    except ImageFileError:
        raise
    except RefusedKindError as error:
        raise ImageFileError(f"{path}: {error}") from None
    except UnknownFormatError:
        raise ImageFileError(
            f"{path} is not an image (PNG, JPEG, TIFF, WebP, BMP or PNM), or it is damaged; save it as PNG"
        ) from None
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageFileError(f"{path} is a folder; name an image file") from None
    except MemoryError:
        raise ImageFileError(f"{path} does not fit into memory; reduce it first") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageFileError(f"{path} cannot be read: {error.strerror}") from None
        raise ImageFileError(f"{path} is damaged or cut short: {first_line(error)}") from error
