"""Commands about models as they are: import, plan."""

from typing import Annotated

import typer

from run_folder import UsageError
from run_folder.cli.console import console
from urcdm_app import builtin
from urcdm_app.cli.app import app, command
from urcdm_app.options.importing import ImportOptions
from urcdm_app.options.kinds import ANY_STUDY_PLAN


@command(ImportOptions, "import")
def import_(options: ImportOptions) -> None:
    """Import checkpoints of imagen-pytorch (.pt), such as the nine of the study, into a model folder.

    Networks are named by level and size: low-64, low-256 and so on. Where a file has several, each takes its own.
    Weights must be exactly those of the plan's networks; nothing in the files is executed.

    Examples: **urcdm-app import low=low.pt medium=medium.pt high=high.pt** · **urcdm-app import --plan study-code
    low-64=a.pt low-256=b.pt low-1024=c.pt medium-64=d.pt ...**
    """
    from urcdm_app.import_model import run_import

    run_import(options)


@app.command()
def plan(
    name: Annotated[
        str,
        typer.Argument(help=f"'small' (the built-in model), or the study's {ANY_STUDY_PLAN}."),
    ] = "small",
) -> None:
    """Print a plan, to start your own from.

    Example: **urcdm-app plan > mine.toml**
    """
    import tomli_w

    from cdm_core.config_file import dump_config
    from urcdm.presets import PLANS

    if name == "small":
        text = builtin.PLAN.read_text(encoding="utf-8")
    elif name in PLANS:
        text = tomli_w.dumps(dump_config(PLANS[name]))
    else:
        raise UsageError(f"no plan '{name}'; there are small, {', '.join(PLANS)}")
    console.file.write(text)
