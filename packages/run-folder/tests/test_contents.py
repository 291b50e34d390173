import hashlib
from pathlib import Path

import pytest

from run_folder import content_digest, contents


def test_a_file_has_the_digest_of_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").write_bytes(b"bytes")
    assert content_digest(tmp_path / "a") == content_digest(str(tmp_path / "b")) == hashlib.sha256(b"bytes").hexdigest()


@pytest.mark.parametrize("place", [0, 3_000, 9_999])
def test_a_large_file_is_known_by_its_size_and_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(contents, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(contents, "PIECES", 11)
    monkeypatch.setattr(contents, "PIECE_BYTES", 100)
    path = tmp_path / "large"
    path.write_bytes(bytes(10_000))
    before = content_digest(path)
    path.write_bytes(bytes(10_001))
    assert content_digest(path) != before
    changed = bytearray(10_000)
    changed[place] = 1
    path.write_bytes(changed)
    assert content_digest(path) != before
    path.write_bytes(bytes(10_000))
    assert content_digest(path) == before


def test_a_folder_has_the_digest_of_all_files_in_it(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        (folder / "below").mkdir(parents=True)
        (folder / "below" / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")
    assert content_digest(folders[0]) == content_digest(folders[1])
    (folders[1] / "below" / "a").rename(folders[1] / "below" / "c")
    assert content_digest(folders[0]) != content_digest(folders[1])


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content_digest(tmp_path / "none")
