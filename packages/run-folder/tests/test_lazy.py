import sys
from pathlib import Path

import pytest


def test_a_name_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "slow_package"
    (package / "room").mkdir(parents=True)
    (package / "room" / "__init__.py").write_text("")
    (package / "room" / "slow.py").write_text("thing = object()")
    (package / "__init__.py").write_text(
        "from run_folder import lazy_names\n__getattr__ = lazy_names(__name__, {'room.slow': ['thing']})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import slow_package  # type: ignore[import-not-found]

    assert "slow_package.room.slow" not in sys.modules
    thing = slow_package.thing
    assert sys.modules["slow_package.room.slow"].thing is thing
    assert vars(slow_package)["thing"] is thing  # the next time without a detour
    with pytest.raises(AttributeError, match="module 'slow_package' has no attribute 'other'"):
        _ = slow_package.other
