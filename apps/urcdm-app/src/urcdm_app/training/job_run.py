"""A job of train, distill or finish at work: its run folder, the processes that share it, progress, and the model.

The processes of `accelerate launch` share each step of a network; those of `--gpus` share the networks.
"""

import sys

import torch

from cdm_core import TrainingError
from cdm_core.devices.processes import Processes, is_lost_peer
from cdm_core.training.loop import check_training
from run_folder import FolderLock, RunFolder, first_line
from run_folder.cli.console import progress_bars, say
from urcdm_app.errors import NetworksFailedError
from urcdm_app.gpus import chosen_places, unused_gpus
from urcdm_app.training.network_processes import train_in_processes
from urcdm_app.training.training_job import Options, TrainingJob


def run_job(kind: type[TrainingJob[Options]], options: Options) -> None:
    """Trains the networks of a job, and saves the model.

    Under `accelerate launch` every process runs this; the main one alone looks after files and shows progress. Of an
    error that several processes have, one prints its line.

    Args:
        kind: The job.
        options: The options of the command.

    Raises:
        LockedError: Another run is at work in the folder.
        NetworksFailedError: Networks failed, while others went on.
        RunFolderError: The folder holds a run, or files of others under the names of the run's.
        UsageError: The job cannot be done as asked for.
    """
    processes = Processes.join(cpu=options.device == "cpu" or not torch.cuda.is_available())
    try:
        _run(kind, options, processes)
    except Exception as error:
        if not processes.is_first_to_fail(error):
            sys.exit(1)
        if processes.count > 1 and is_lost_peer(error):
            raise TrainingError(
                f"{options.out}: another process of the run ended ({first_line(error)[:200]}); go on with --resume"
            ) from None
        raise


def _run(kind: type[TrainingJob[Options]], options: Options, processes: Processes) -> None:
    with processes.together():
        job = kind(options)
        places = None if options.gpus is None else chosen_places(options.gpus, job.device, processes.count)
        run = RunFolder(
            options.out, job.tool, {}, overwrite=options.overwrite, resume=options.resume, inputs=job.inputs
        )
        if processes.is_main:
            with run:  # refuses another run before models and slides are opened
                pass
        job.check()
        source = job.open_data()
        data = {name: job.data(name, source) for name in job.chosen}
        for name in job.chosen:
            check_training(*job.stage(name), processes=processes.count)
    with processes.together():  # nothing is written, or dropped, before all can begin
        if processes.is_main:
            with run:  # from here on each network's folder has a lock of its own: machines may share the networks out
                job.open_folder(run, source)
    if places is None and processes.count == 1 and (line := unused_gpus(options.device)) is not None:
        say(line)
    if places is not None and min(len(places), len(job.chosen)) > 1:
        if failed := train_in_processes(job, places):
            raise NetworksFailedError(
                f"{options.out}: {len(failed)} of {len(job.chosen)} networks failed ({', '.join(failed)}); mend what "
                "the lines above name, and go on with --resume"
            )
    else:
        with progress_bars(notes=True, shown=processes.is_main) as bars:
            for name in job.chosen:
                task = bars.add_task(name, total=job.steps(name), note="")
                for event in job.train(name, data[name], resume=options.resume):
                    bars.update(task, completed=event.done, note=event.note)
                bars.update(task, completed=job.steps(name))
    if processes.is_main:
        with FolderLock(options.out):
            job.assemble(source.slides)
