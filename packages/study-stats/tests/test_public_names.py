import importlib
import subprocess
import sys
from types import FunctionType

import pytest

import study_stats


@pytest.mark.parametrize("name", study_stats.__all__)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(study_stats, name)
    assert isinstance(found, type | FunctionType)
    assert found.__doc__
    # A module of the same name would take its place once it is imported.
    assert importlib.util.find_spec(f"study_stats.{name}") is None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = study_stats.nothing


def test_what_is_slow_to_import_waits_until_it_is_asked_for() -> None:
    code = "import sys, study_stats; sys.exit(bool({'matplotlib', 'statsmodels', 'torch', 'flask'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
