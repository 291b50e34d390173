"""For the tests of all packages and apps."""

import gc


def pytest_collection_finish() -> None:
    """Has the garbage collector pass over the imported modules, and look for cycles more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
