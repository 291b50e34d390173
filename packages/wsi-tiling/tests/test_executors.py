import operator
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from wsi_tiling import LocalTaskExecutor, ProcessTaskExecutor, RayTaskExecutor, SlideError, TaskExecutor
from wsi_tiling.running.executors import Done, Failed

pytestmark = pytest.mark.once


class FakeRay(ModuleType):
    """As much of Ray as the executor uses. Tasks run when they are waited for, the last one given first."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=type("RayError", (Exception,), {}))
        self.connected, self.at_once, self.most = False, 0, 0
        self.cancelled: list[Callable[[], Any]] = []

    def is_initialized(self) -> bool:
        return self.connected

    def init(self, address: str | None, log_to_driver: bool, logging_level: int = 0) -> None:
        if address == "nowhere":
            raise ConnectionError("nobody there\nat all")
        self.connected = True

    def shutdown(self) -> None:
        self.connected = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, max_retries: int) -> Any:
        def submit(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            return partial(function, *arguments)

        return lambda function: SimpleNamespace(remote=partial(submit, function))

    def wait(self, tasks: list[Any], num_returns: int, timeout: float | None) -> tuple[list[Any], list[Any]]:
        quick = [task for task in tasks if task.args[2].func is not time.sleep]
        if not quick:
            time.sleep(timeout or 0)
        return quick[-1:], [task for task in tasks if task not in quick[-1:]]

    def get(self, task: Any) -> Any:
        self.at_once -= 1
        if task.args[2].func is os._exit:
            raise self.exceptions.RayError("the worker died\nwith more to tell")
        return task()

    def cancel(self, task: Any, force: bool) -> None:
        self.at_once -= 1
        self.cancelled.append(task)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture(params=["here", "processes", "ray"])
def executor(request: pytest.FixtureRequest) -> TaskExecutor:
    if request.param == "ray":
        request.getfixturevalue("ray")
        return RayTaskExecutor()
    return ProcessTaskExecutor(2) if request.param == "processes" else LocalTaskExecutor()


def outcomes(executor: TaskExecutor, tasks: list[Callable[[], Any]]) -> list[Done[Any] | Failed]:
    """What came of tasks, in their order."""
    return sorted(executor.run(operator.call, tasks), key=lambda outcome: outcome.number)


def test_every_task_is_tried_whatever_becomes_of_the_others(executor: TaskExecutor) -> None:
    tasks = [partial(int, "3"), partial(int, "x"), partial(open, "/nowhere"), partial(sum, [1, 2])]
    one, fault, refused, last = outcomes(executor, tasks)
    assert (one, last) == (Done(0, 3), Done(3, 3))
    assert isinstance(fault, Failed)
    assert fault.kind == "fault"
    assert "ValueError: invalid literal" in fault.reason
    assert "Traceback" in fault.trace
    assert refused == Failed(2, "refused", "/nowhere: No such file or directory", errno=2)


def test_a_process_that_dies_or_hangs_costs_its_own_task_only() -> None:
    # The first tells the time that a process takes to start, which is not counted.
    tasks = [partial(int, "1"), partial(os._exit, 7), partial(time.sleep, 600), partial(os.abort), partial(int, "2")]
    one, exited, hung, aborted, last = outcomes(ProcessTaskExecutor(2, timeout_s=2), tasks)
    assert (one, last) == (Done(0, 1), Done(4, 2))
    assert isinstance(exited, Failed)
    assert (exited.kind, "exit code 7" in exited.reason) == ("died", True)
    assert isinstance(aborted, Failed)
    assert (aborted.kind, "SIGABRT" in aborted.reason) == ("died", True)
    assert hung == Failed(2, "too slow", "took longer than 2 s")


def test_processes_end_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    import wsi_tiling.running.executors as module

    class Noted(module._Worker):
        def __init__(self, work: Callable[[Any], Any]) -> None:
            super().__init__(work)
            started.append(self.process)

    monkeypatch.setattr(module, "_Worker", Noted)
    run = ProcessTaskExecutor(2).run(operator.call, [partial(int, "1"), partial(time.sleep, 600), partial(int, "2")])
    assert isinstance(run, Iterator)
    assert isinstance(next(run), Done)
    run.close()
    assert 1 <= len(started) <= 2
    assert not any(process.is_alive() for process in started)


def test_workers_that_cannot_start_are_no_fault_of_the_tasks() -> None:
    class Local:
        def __reduce__(self) -> tuple[Any, ...]:
            return os._exit, (3,)

        def __call__(self, task: int) -> int:
            return task

    with pytest.raises(SlideError, match="__main__"):
        list(ProcessTaskExecutor(1).run(Local(), [1]))


def test_ray_gets_no_more_tasks_than_it_has_cpus_and_is_let_go_again(ray: FakeRay) -> None:
    numbers = [partial(int, str(number)) for number in range(7)]
    assert outcomes(RayTaskExecutor(), numbers) == [Done(number, number) for number in range(7)]
    assert (ray.most, ray.connected) == (2, False)
    outcomes(RayTaskExecutor(at_once=5), numbers)
    assert ray.most == 5
    ray.init(None, log_to_driver=False)
    outcomes(RayTaskExecutor(), numbers)
    assert ray.connected


def test_what_ray_loses_or_does_not_end_is_told(ray: FakeRay) -> None:
    tasks = [partial(time.sleep, 600), partial(os._exit, 7), partial(int, "1"), partial(int, "2")]
    hung, died, *rest = outcomes(RayTaskExecutor(timeout_s=0.1), tasks)
    assert hung == Failed(0, "too slow", "took longer than 0.1 s")
    assert died == Failed(1, "died", "Ray lost it: the worker died")
    assert rest == [Done(2, 1), Done(3, 2)]
    assert len(ray.cancelled) == 1


def test_without_ray_or_its_cluster_there_is_one_line(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlideError, match=r"no Ray cluster at 'nowhere': nobody there$"):
        list(RayTaskExecutor("nowhere").run(operator.call, []))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SlideError, match=r"pip install 'wsi-tiling\[ray\]'"):
        list(RayTaskExecutor().run(operator.call, []))


@pytest.mark.parametrize(
    "make",
    [
        partial(ProcessTaskExecutor, 0),
        partial(ProcessTaskExecutor, 1, timeout_s=0),
        partial(RayTaskExecutor, at_once=0),
        partial(RayTaskExecutor, timeout_s=-1),
    ],
)
def test_senseless_executors_are_refused(make: Callable[[], TaskExecutor]) -> None:
    with pytest.raises(SlideError, match="wanted"):
        make()
