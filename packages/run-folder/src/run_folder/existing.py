"""Protection of existing files and folders."""

import os
from collections.abc import Iterable

from run_folder.errors import UsageError


def refuse_existing(paths: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> None:
    """Checks that no existing file or folder would be replaced; a link counts as existing, whatever its target.

    Args:
        paths: Files and folders to write.
        overwrite: Whether existing ones may be replaced.

    Raises:
        UsageError: A path exists and may not be replaced.
    """
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{os.fspath(path)} exists; give another name, or --overwrite to replace it")
