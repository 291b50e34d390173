"""A cache of slow results, so that many views of a page are one calculation."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from flask import current_app

EXTENSION = "study_app.recent"
LASTS = timedelta(seconds=30)
_T = TypeVar("_T")


@dataclass
class Recent:
    """Recently computed values; only one is computed at a time."""

    _values: dict[Hashable, tuple[datetime, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Hashable, now: datetime, make: Callable[[], _T]) -> _T:
        """Returns the value of a key, or makes it if there is none that is recent."""
        with self._lock:
            self._values = {name: entry for name, entry in self._values.items() if now - entry[0] < LASTS}
            if key not in self._values:
                self._values[key] = (now, make())
            return cast(_T, self._values[key][1])


def recent() -> Recent:
    """The cache of this process."""
    return cast(Recent, current_app.extensions[EXTENSION])
