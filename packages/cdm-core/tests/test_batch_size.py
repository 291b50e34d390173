from collections.abc import Callable

import pytest
import torch

from cdm_core.devices.batch_size import BatchSize, best_batch_size, is_out_of_memory, time_batch


class Device:
    """A device with a clock that only its work moves: a batch of a size takes `seconds` a step, and `around` once."""

    def __init__(
        self,
        seconds: Callable[[int], float],
        memory: int = 10**9,
        warm_up: float = 0.0,
        around: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self.seconds, self.memory, self.warm_up, self.around = seconds, memory, warm_up, around
        self.now, self.sizes = 0.0, []

    def run(self, size: int, steps: int) -> None:
        if size > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.now += steps * self.seconds(size) + self.around(size) + (self.warm_up if size not in self.sizes else 0)
        self.sizes.append(size)

    def best(self, limit: int) -> BatchSize:
        return best_batch_size(self.run, limit=limit, clock=lambda: self.now)


def test_the_batch_grows_while_an_image_gets_faster() -> None:
    device = Device(lambda size: max(8.0, size))  # up to 8 images take as long as one
    assert device.best(limit=64) == BatchSize(8, 1.0)
    assert max(device.sizes) == 16


def test_the_time_of_the_host_does_not_choose_the_batch() -> None:
    device = Device(lambda size: max(8.0, size), around=lambda size: 100.0 * size)
    assert device.best(limit=64) == BatchSize(8, 1.0, 100.0)


def test_the_time_of_an_image_is_that_of_its_steps_or_of_the_host_beside_them() -> None:
    batch = BatchSize(8, 0.5, 3.0)
    assert (batch.seconds(4), batch.seconds(10), batch.seconds(10, speed_up=1.25)) == (3.0, 5.0, 4.0)


def test_a_clock_that_jumps_gives_no_negative_time() -> None:
    assert time_batch(lambda *_: None, 2, clock=iter([0.0, 5.0, 6.0]).__next__) == BatchSize(2, 0.0, 2.5)


def test_a_gain_of_a_few_percent_is_not_worth_twice_the_memory() -> None:
    assert Device(lambda size: 0.04 + size).best(limit=64).size == 1
    assert Device(lambda size: 0.20 + size).best(limit=64).size == 2


def test_the_batch_stays_within_memory() -> None:
    assert Device(lambda _: 1.0, memory=11).best(limit=64) == BatchSize(8, 1 / 8)


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_the_limit_is_tried_and_not_exceeded(limit: int, sizes: list[int]) -> None:
    device = Device(lambda _: 1.0)
    assert device.best(limit).size == limit
    assert sorted(set(device.sizes)) == sizes


def test_the_first_run_of_a_size_does_not_count() -> None:
    device = Device(lambda size: max(8.0, size), warm_up=100.0)
    assert device.best(limit=64) == BatchSize(8, 1.0)
    assert device.sizes[:6] == [1, 1, 1, 2, 2, 2]


def test_one_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Device(lambda _: 1.0, memory=0).best(limit=8)


def test_other_errors_are_not_taken_for_full_memory() -> None:
    def run(size: int, _steps: int) -> None:
        if size > 1:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        best_batch_size(run, limit=8, clock=iter(range(0, -100, -1)).__next__)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        best_batch_size(lambda *_: None, limit=0)


def test_full_memory_is_recognised_on_every_device() -> None:
    with pytest.raises(RuntimeError) as on_the_cpu:
        torch.empty(2**60)
    assert is_out_of_memory(on_the_cpu.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
