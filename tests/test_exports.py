from importlib import import_module

import pytest

LAZY = [
    "maskcond",
    "maskcond.enrichment",
    "maskcond.segmentation",
    "urcdm",
    "wsi_tiling",
]


@pytest.mark.parametrize("package", LAZY)
def test_every_exported_name_is_there(package: str) -> None:
    """Names that are imported when they are first used: no type checker looks at the table that says where they are."""
    module = import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
