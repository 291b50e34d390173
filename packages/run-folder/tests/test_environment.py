import os

import pytest

from run_folder import environment


def test_variables_come_back_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_BEFORE", "old")
    monkeypatch.delenv("NEW_IN_BLOCK", raising=False)
    with environment({"KEPT_BEFORE": "new", "NEW_IN_BLOCK": "1"}):
        assert (os.environ["KEPT_BEFORE"], os.environ["NEW_IN_BLOCK"]) == ("new", "1")
    assert os.environ["KEPT_BEFORE"] == "old"
    assert "NEW_IN_BLOCK" not in os.environ
