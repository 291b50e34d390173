"""`urcdm-app import`: a model from checkpoints of imagen-pytorch."""

import datetime
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import torch

from run_folder import UsageError, refuse_existing
from run_folder.cli.console import progress_bars, say
from urcdm import TrainingPlan, import_imagen
from urcdm.training.plan_file import read_plan
from urcdm_app.options.importing import ImportOptions


def run_import(options: ImportOptions) -> None:
    """Makes a model folder.

    Raises:
        UsageError: Networks of the plan are without a file, others are named, or something is in the way.
    """
    out, plan = options.out, read_plan(options.plan)
    files = files_by_level(plan, options.checkpoints)
    refuse_existing([out], overwrite=options.overwrite)
    provenance = {
        "imported_by": f"urcdm-app {importlib.metadata.version('urcdm-app')}",
        "plan": str(options.plan),
        "weights": ", ".join(
            ("as trained" if options.raw else "running mean (EMA)", f"{'half' if options.half else 'single'} precision")
        ),
        "date": datetime.date.today().isoformat(),
    }
    with progress_bars(notes=True) as bars:
        task = bars.add_task("networks", total=len(plan.networks), note="")
        for name in import_imagen(
            plan,
            files,
            out,
            weights="raw" if options.raw else "ema",
            dtype=torch.float16 if options.half else torch.float32,
            provenance=provenance,
            overwrite=options.overwrite,
        ):
            bars.update(task, advance=1, note=name)
    say(f"{out} (model); sample from it with: urcdm-app sample --model {out}")


def files_by_level(plan: TrainingPlan, checkpoints: Sequence[str]) -> dict[str, list[Path]]:
    """Reads 'low-64=a.pt' (one network) and 'low=b.pt' (all of a level), for every network of a plan.

    Returns:
        For each level, one file or one for each network, in order.

    Raises:
        UsageError: A text of another form, a network that is missing, unknown or named twice, or no such file.
    """
    levels = {plan.urcdm.cascade_name(i): plan.of_level(i) for i in range(len(plan.urcdm.levels))}
    known = [network.name for networks in levels.values() for network in networks]
    given: dict[str, Path] = {}
    for text in checkpoints:
        name, equals, file = text.partition("=")
        if not equals or not file:
            raise UsageError(f"{text}: wanted NETWORK=FILE, such as {known[0]}={text.strip('=') or 'FILE'}")
        if name not in known and name not in levels:
            raise UsageError(
                f"{text}: the plan has no '{name}'; it has the networks {', '.join(known)}, or for all networks of a "
                f"level {', '.join(levels)}"
            )
        for network in [name] if name in known else [network.name for network in levels[name]]:
            if network in given:
                raise UsageError(f"{text}: {network} is given twice")
            given[network] = Path(file)
    if missing := [name for name in known if name not in given]:
        raise UsageError(f"no file for {', '.join(missing)}: give {missing[0]}=FILE and so on, or LEVEL=FILE for all")
    for name, path in given.items():
        if not path.is_file():
            raise UsageError(f"{name}={path}: no such file")
    return {level: [given[network.name] for network in networks] for level, networks in levels.items()}
