from pathlib import Path

import pytest

from urcdm.sampling import host_memory
from urcdm.sampling.host_memory import FillingCache, available_bytes


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files say how much memory is free."""
    monkeypatch.setattr(host_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(host_memory, "CONTAINER", tmp_path)
    return tmp_path


def test_the_memory_that_is_free_is_the_machines_and_the_containers(machine: Path) -> None:
    assert available_bytes() > 2**26  # a share of all memory, where nothing is known
    (machine / "meminfo").write_text("MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:   5000 kB\n")
    assert available_bytes() == 5000 * 1024
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("700000\n")
    assert available_bytes() == 5000 * 1024
    (machine / "memory.max").write_text("1000000\n")
    assert available_bytes() == 300_000
    (machine / "memory.stat").write_text("anon 5\ninactive_file 200000\nactive_file 3\n")
    assert available_bytes() == 500_000


def test_the_free_memory_of_this_machine_is_known() -> None:
    assert 2**20 < available_bytes() < 2**50


def test_a_filling_cache_keeps_what_came_first() -> None:
    made: list[int] = []

    def make(key: int) -> bytes:
        made.append(key)
        return bytes(key)

    cache = FillingCache(8, make, len)
    for _ in range(3):  # in turns, each of which is larger than the cache
        assert [len(cache.get(key)) for key in (3, 4, 5, 1)] == [3, 4, 5, 1]
    assert made == [3, 4, 5, 1, 5, 5]
