"""The tests share the cores among processes, so each takes one thread; a run in one process takes them all."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
