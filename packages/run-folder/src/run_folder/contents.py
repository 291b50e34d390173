"""Digests of contents: files with the same contents have the same digest, whatever their names."""

import hashlib
import os
from pathlib import Path

from run_folder.files import file_sha256

WHOLE_BYTES = 64 * 2**20
"""Larger files, such as slides, are read in pieces."""
PIECES, PIECE_BYTES = 64, 2**18


def content_digest(path: str | os.PathLike[str]) -> str:
    """A digest of what a file or a folder holds.

    Of a file up to 64 MiB, it is the SHA-256 of its bytes; of a larger one, that of its size and of 64 pieces of
    256 KiB, spread evenly from its first byte to its last. Of a folder, it is that of the names and digests of all
    files in it.

    Args:
        path: The file or folder.

    Raises:
        OSError: It cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        lines = (f"{each.relative_to(path).as_posix()} {content_digest(each)}\n" for each in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    size = path.stat().st_size
    return file_sha256(path) if size <= WHOLE_BYTES else _pieces_sha256(path, size)


def _pieces_sha256(path: Path, size: int) -> str:
    digest = hashlib.sha256(f"{size} ".encode())
    with path.open("rb") as file:
        for piece in range(PIECES):
            file.seek(piece * (size - PIECE_BYTES) // (PIECES - 1))
            digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()
