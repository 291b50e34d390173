"""Digests of contents: files with the same contents have the same digest, whatever their names."""

import hashlib
import os
from pathlib import Path

from run_folder.files import file_sha256

WHOLE_BYTES = 64 * 2**20
"""Largest file that is read as a whole; larger ones, such as slides, are read in pieces."""
PIECES, PIECE_BYTES = 64, 2**18


def content_digest(path: str | os.PathLike[str]) -> str:
    """The digest of the contents of a file or a folder.

    For a file up to 64 MiB, it is the SHA-256 of its bytes; for a larger one, that of its size and of 64 pieces of
    256 KiB, evenly spread from its first byte to its last. For a folder, it is that of the names and digests of all
    files in it.

    Args:
        path: File or folder.

    Raises:
        OSError: A file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{file.relative_to(path).as_posix()} {content_digest(file)}\n" for file in files)
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
