"""The free memory of the host, and a cache for values that are used in cycles."""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

MEMINFO, CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
Key = TypeVar("Key")
Value = TypeVar("Value")


def available_bytes() -> int:
    """Returns the memory that is available on the machine and in this process's container, bytes.

    It is a quarter of all memory if neither is known.
    """
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4]
    machine = re.search(r"MemAvailable:\s+(\d+) kB", _text(MEMINFO))
    if machine:
        free = [1024 * int(machine[1])]
    limit, used = _text(CONTAINER / "memory.max").strip(), _text(CONTAINER / "memory.current").strip()
    files = re.search(r"^inactive_file (\d+)", _text(CONTAINER / "memory.stat"), re.MULTILINE)  # can be freed
    if limit.isdecimal() and used.isdecimal():
        free.append(int(limit) - int(used) + (int(files[1]) if files else 0))
    return max(0, min(free))


class FillingCache(Generic[Key, Value]):
    """Keeps the first values, as many as fit, and makes all others again on every use.

    It is for values that are used in cycles: a least-recently-used cache would always have dropped the next one.
    Several threads may use it.

    Args:
        room: Most bytes of all values that it keeps.
        make: Makes the value of a key, which must not be changed.
        size: Returns the bytes of a value.
    """

    def __init__(self, room: int, make: Callable[[Key], Value], size: Callable[[Value], int]) -> None:
        self._room, self._make, self._size = room, make, size
        self._kept: dict[Key, Value] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value:
        """Returns the value of a key."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        value = self._make(key)
        with self._lock:
            if key not in self._kept and self._size(value) <= self._room:
                self._room -= self._size(value)
                self._kept[key] = value
        return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
