"""Care for files and folders that exist."""

import os
from collections.abc import Iterable

from run_folder.errors import UsageError


def refuse_existing(paths: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> None:
    """Makes sure that nothing is lost by writing to paths. A link counts as existing, wherever it leads.

    Args:
        paths: Files and folders to write.
        overwrite: Whether they may be replaced.

    Raises:
        UsageError: One exists, and may not be replaced.
    """
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{os.fspath(path)} exists; give another name, or --overwrite to replace it")
