"""The workers that sample the patches of a slide: this process or those of a Ray cluster, each with its own model.

`LocalWorkers` and `urcdm.RayPatchExecutor` have the same methods: `call_once` runs a measurement with the resources of
a worker, and `start` returns the executor.
"""

import platform
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from cdm_core import CheckpointError, fetch_model
from cdm_core.devices.arithmetic import set_fp32
from cdm_core.stages.inference import Precision, prepare_for_sampling
from urcdm.errors import WorkerError
from urcdm.execution.batch_choice import BatchChoice, choose_batches
from urcdm.execution.executors import LocalPatchExecutor, PatchExecutor, SerialPatchExecutor
from urcdm.model import Urcdm
from urcdm.settings import RunSettings

Answer = TypeVar("Answer")


class PatchWorkers(Protocol):
    """Workers that are reserved, and can be started to sample patches."""

    @property
    def workers(self) -> int:
        """The number of workers."""
        ...

    def call_once(self, function: Callable[[], Answer]) -> Answer:
        """Calls a function in a process with the resources of a worker."""
        ...

    def start(self, make: Callable[[], SerialPatchExecutor]) -> PatchExecutor:
        """Makes an executor in each worker, and returns the one that hands batches out to them."""
        ...


class LocalWorkers(ExitStack):
    """This process as the one worker; a context manager, which closes the executor at its end."""

    workers = 1

    def call_once(self, function: Callable[[], Answer]) -> Answer:
        """Calls a function."""
        return function()

    def start(self, make: Callable[[], SerialPatchExecutor]) -> SerialPatchExecutor:
        """Makes the executor."""
        return self.enter_context(make())


def device_name(device: torch.device) -> str:
    """Returns the name of a device for a report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


@dataclass(frozen=True)
class ModelSource:
    """The model of a run, for workers that load it themselves.

    Args:
        source: A folder, a zip or a repository, see `cdm_core.fetch_model`.
        load: Reads its folder.
        fingerprint: Its fingerprint, as it was loaded for the run.
    """

    source: str
    load: Callable[[Path], Urcdm]
    fingerprint: str

    @classmethod
    def of(cls, source: str, load: Callable[[Path], Urcdm], fingerprint: str) -> "ModelSource":
        """Describes a model; a path becomes absolute, as a worker may run in another folder."""
        return cls(str(Path(source).resolve()) if Path(source).exists() else source, load, fingerprint)

    def get(self) -> Urcdm:
        """Loads the model on a worker's machine.

        Raises:
            WorkerError: It is missing on that machine, or differs from the run's.
        """
        machine = platform.node()
        try:
            folder = fetch_model(self.source)
            try:
                model = self.load(folder)
            finally:
                if Path(self.source).is_file():
                    shutil.rmtree(folder)  # an unpacked zip, which would outlive a worker that is killed
        except CheckpointError as error:
            raise WorkerError(f"on {machine}: {error}") from None
        if model.fingerprint() != self.fingerprint:
            raise WorkerError(
                f"on {machine}: {self.source} differs from the model on this machine; use the same model everywhere"
            )
        return model


@dataclass(frozen=True)
class WorkerSetup:
    """The setup of a worker, which is made once and sent to every worker.

    Args:
        get_model: Returns the model as it was loaded; called in the worker's process.
        get_device: Returns the device to use; called in the worker's process.
        precision: Precision of the networks.
    """

    get_model: Callable[[], Urcdm]
    get_device: Callable[[], torch.device]
    precision: Precision

    def model(self) -> Urcdm:
        """Prepares the networks on the device, in place.

        On a GPU, the process calculates in IEEE float32 afterwards, so that 'fp32' means the same as on a CPU.
        """
        device = self.get_device()
        if device.type == "cuda":
            set_fp32("ieee")
        model = self.get_model().to(device)
        for cascade in model.cascades:
            for unet in cascade.unets:
                prepare_for_sampling(unet, precision=self.precision)
        return model

    def choose_batches(
        self, settings: RunSettings, batch: int | None, compiled: bool | None, workers: int
    ) -> BatchChoice:
        """Chooses batch sizes and compilation in the process of a worker; see `batch_choice.choose_batches`."""
        return choose_batches(self.model(), settings, batch=batch, compiled=compiled, workers=workers)

    def executor(self, choice: BatchChoice) -> LocalPatchExecutor:
        """Makes the executor of a worker."""
        model = self.model()
        takes = choice.compile(model)
        return LocalPatchExecutor(model, full=choice.full, parts=choice.parts(model), takes=takes)
