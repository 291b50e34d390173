"""The executor of slides that the command line names."""

from wsi_tiling import LocalTaskExecutor, ProcessTaskExecutor, RayTaskExecutor, TaskExecutor


def make_executor(workers: int | None, timeout_s: float | None, ray: str | None) -> TaskExecutor:
    """Makes what `--workers`, `--timeout` and `--ray` ask for.

    Args:
        workers: How many tasks at a time; None for one, or on Ray as many as the cluster has CPUs.
        timeout_s: Longest time that one may take, seconds.
        ray: Address of a Ray cluster.

    Raises:
        SlideError: A number is out of range.
    """
    if ray is not None:
        return RayTaskExecutor(ray, at_once=workers, timeout_s=timeout_s)
    if (workers is None or workers == 1) and timeout_s is None:
        return LocalTaskExecutor()
    return ProcessTaskExecutor(workers or 1, timeout_s)
