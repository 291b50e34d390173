import sys
from types import ModuleType

import pytest

from run_folder import lazy_exports


def test_a_name_is_imported_when_it_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("sample_package"), ModuleType("sample_package.late")
    module.VALUE = object()
    get = lazy_exports("sample_package", {"VALUE": "late"})
    monkeypatch.setitem(sys.modules, "sample_package", package)
    with pytest.raises(ModuleNotFoundError):
        get("VALUE")
    monkeypatch.setitem(sys.modules, "sample_package.late", module)
    assert get("VALUE") is module.VALUE
    assert package.VALUE is module.VALUE  # so that the next use asks no more


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'sample_package' has no attribute 'OTHER'"):
        lazy_exports("sample_package", {"VALUE": "late"})("OTHER")
