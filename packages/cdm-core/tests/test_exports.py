"""The names that the package has at its top."""

import cdm_core


def test_every_name_that_is_listed_is_there() -> None:
    assert [name for name in cdm_core.__all__ if not hasattr(cdm_core, name)] == []
