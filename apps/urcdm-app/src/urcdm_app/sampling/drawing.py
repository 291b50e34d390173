"""Who draws the patches of a slide: this process, or the workers of a Ray cluster, each with a model of its own."""

import importlib.util
import platform
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from numpy.typing import NDArray

import urcdm
from cdm_core import CheckpointError, fetch_model
from cdm_core.stages.inference import Precision, compiling
from urcdm_app.console import resolve_device
from urcdm_app.errors import UsageError
from urcdm_app.sampling.speed import (
    Batches,
    choose_batches,
    compile_loops,
    compile_networks,
    make_ready,
    parts_of_batch,
    resolve_precision,
)

Answer = TypeVar("Answer")
GetModel = Callable[[], urcdm.Urcdm]
"""Gives the model as it was loaded, in the process that calls it."""


class ThisProcess:
    """Works off batches in this process, and is told what to do as `urcdm.RayExecutor` is."""

    workers = 1
    lost = 0

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._executor: urcdm.SerialExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def once(self, function: Callable[[], Answer]) -> Answer:
        """Calls a function."""
        return function()

    def use(self, make: Callable[[], urcdm.SerialExecutor]) -> None:
        """Makes what works off the batches from now on."""
        self._executor = self._ends.enter_context(make())

    def submit(self, tasks: Sequence[urcdm.Task]) -> "Future[list[NDArray[Any]]]":
        """Hands out tasks of one kind and stage as one batch."""
        if self._executor is None:
            raise RuntimeError("submit before use")
        return self._executor.submit(tasks)


Drawers = ThisProcess | urcdm.RayExecutor


def open_drawers(workers: int | None, ray: str | None, device: str) -> Drawers:
    """Makes who draws as `--workers` and `--ray` say.

    Args:
        workers: How many; None for this process alone, or for one on each GPU of the Ray cluster.
        ray: Address of the cluster; None starts Ray on this machine if several workers are wanted.
        device: What each is to use.

    Raises:
        UsageError: Ray is not installed, or the device is one GPU for all.
        SlideError: There is no cluster at the address.
        WorkerError: It cannot have so many workers.
    """
    if ray is None and workers in (None, 1):
        return ThisProcess()
    if importlib.util.find_spec("ray") is None:
        raise UsageError("several workers, or --ray, need Ray: pip install 'urcdm-app[ray]'")
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device}: each worker has a GPU to itself; give auto, cuda or cpu")
    return urcdm.RayExecutor(ray or "local", workers)


@dataclass(frozen=True)
class Seat:
    """The device that a worker draws on, and the precision that it calculates in."""

    device: str
    precision: Precision


def look_at_device(device: str, precision: str) -> Seat:
    """Finds out, where it is called, what `--device` and `--precision` mean there.

    Raises:
        UsageError: There is no such device, or no such precision.
    """
    found = resolve_device(device)
    name = f"{found.type} ({platform.machine()}, {torch.get_num_threads()} threads)"
    if found.type == "cuda":
        name = torch.cuda.get_device_name(found)
    return Seat(name, resolve_precision(precision, found))


def model_for(
    drawers: Drawers, model: urcdm.Urcdm, source: str, load: Callable[[Path], urcdm.Urcdm], fingerprint: str
) -> GetModel:
    """Returns how those who draw get the model that was loaded here: this process has it, workers load it themselves.

    Args:
        drawers: Who draws.
        model: The model.
        source: Where it was loaded from, see `cdm_core.fetch_model`.
        load: Reads its folder.
        fingerprint: Its fingerprint.
    """
    if isinstance(drawers, ThisProcess):
        return lambda: model
    # a worker may run in another folder
    place = str(Path(source).resolve()) if Path(source).exists() else source
    return partial(load_same_model, place, load, fingerprint)


def load_same_model(source: str, load: Callable[[Path], urcdm.Urcdm], fingerprint: str) -> urcdm.Urcdm:
    """Loads a model on a worker's machine.

    Raises:
        UsageError: There it is not to be had, or another one.
    """
    machine = platform.node()
    try:
        folder = fetch_model(source)
        try:
            model = load(folder)
        finally:
            if Path(source).is_file():
                shutil.rmtree(folder)  # an unpacked zip, which would outlive a worker that is killed
    except CheckpointError as error:
        raise UsageError(f"on {machine}: {error}") from None
    if model.fingerprint() != fingerprint:
        raise UsageError(f"on {machine}: {source} is another model than here; give all machines the same")
    return model


def batches_there(
    get_model: GetModel,
    device: str,
    settings: urcdm.RunSettings,
    batch: int | None,
    compiled: bool | None,
    workers: int,
) -> Batches:
    """Decides, in the process of a worker, how patches are sampled; see `urcdm_app.sampling.speed.choose_batches`."""
    model = make_ready(get_model(), resolve_device(device), settings.precision)
    return choose_batches(model, settings, batch=batch, compiled=compiled, workers=workers)


class Drawer(urcdm.InProcessExecutor):
    """Draws with a model of its process, in batches of the sizes that were decided.

    Raises:
        UsageError: By the result, if a network cannot be compiled there.
    """

    def __init__(self, get_model: GetModel, device: str, precision: Precision, batches: Batches) -> None:
        model = make_ready(get_model(), resolve_device(device), precision)
        compile_networks(model, batches)
        super().__init__(model, full=batches.full, parts=parts_of_batch(model), takes=compile_loops(batches))

    def finish(self, batch: urcdm.PreparedBatch) -> list[NDArray[Any]]:
        """Works off a prepared batch now."""
        with compiling(UsageError, "go on with --resume --no-compile"):
            return super().finish(batch)
