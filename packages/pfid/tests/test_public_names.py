import importlib
import subprocess
import sys
from types import FunctionType

import pytest

import pfid


@pytest.mark.parametrize("name", pfid.__all__)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(pfid, name)
    assert isinstance(found, type | FunctionType)
    # A module of the same name would take its place once it is imported.
    assert importlib.util.find_spec(f"pfid.{name}") is None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pfid.nothing


def test_processes_that_read_crops_do_without_torch() -> None:
    code = "import sys, pfid.crops.reading; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
