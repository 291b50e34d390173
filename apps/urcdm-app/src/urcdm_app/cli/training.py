"""Commands from slides to a trained model. What takes time to import is imported by the command that needs it."""

from urcdm_app.cli.app import command
from urcdm_app.options.tiling import ShardOptions, TileOptions
from urcdm_app.options.training import DistillOptions, FinishOptions, TrainOptions


@command(TileOptions)
def tile(options: TileOptions) -> None:
    """Find the tissue of slides: a table of tiles for every magnification of the plan, and a picture for each slide.

    A slide that cannot be read, is of another scale, or is the same as another under a second name is set aside and
    listed; the others go on. What is done is kept: **--resume** goes on with an interrupted run, or with slides that
    were added, given together with the earlier ones. **--overwrite** removes the files of an earlier run, no others.

    Examples: **urcdm-app tile first.svs second.svs --out tiles** · **urcdm-app tile slides/ --workers 8 --patients
    patients.csv --split train=0.8,validation=0.1,test=0.1**
    """
    from urcdm_app.tiling.tile import run_tile

    run_tile(options)


@command(ShardOptions)
def export(options: ShardOptions) -> None:
    """Export tiles as PNG or JPEG files in tar shards, shuffled, for any trainer that reads WebDataset.

    Example: **urcdm-app export --tiles tiles --out shards --format jpeg --workers 8**
    """
    from urcdm_app.tiling.export import run_export

    run_export(options)


@command(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train the networks of a plan on tiles, and put the model together.

    Every network has a folder with its log (log.jsonl), sample pictures (samples/) and state, from which **--resume**
    goes on. Networks are independent: train them on several machines with **--only**. With **--validation**, or
    a split of that name in the tiles, the loss on held-out slides is measured too.

    Examples: **urcdm-app train --tiles tiles --out runs/mine** · **urcdm-app train --steps 20 --batch 4** (a quick try)
    """
    from urcdm_app.training.job_run import run_job
    from urcdm_app.training.train import TrainJob

    run_job(TrainJob, options)


@command(DistillOptions)
def distill(options: DistillOptions) -> None:
    """Teach a model's networks to take few steps: each student does in one step what its teacher does in two.

    Students follow one another, each with half the steps of the one before; or there is one only, with **--method
    consistency**. The plan is that of the model's training; its numbers of steps and images are those of every student.
    **--resume** goes on with an interrupted run.

    Example: **urcdm-app distill --model runs/mine/model --tiles tiles --to 4 --steps 2000**
    """
    from urcdm_app.training.distill import DistillJob
    from urcdm_app.training.job_run import run_job

    run_job(DistillJob, options)


@command(FinishOptions)
def finish(options: FinishOptions) -> None:
    """Train a model's students on against discriminators on real images, which makes their samples crisp.

    A student has its teacher's faults; a finished one learns from the slides themselves, at the few times at which
    sampling asks it. A network's table 'finishing' in the plan says how. **--resume** goes on with an interrupted run.

    Example: **urcdm-app finish --model runs/fast/model --tiles tiles --only high-128**
    """
    from urcdm_app.training.finish import FinishJob
    from urcdm_app.training.job_run import run_job

    run_job(FinishJob, options)
