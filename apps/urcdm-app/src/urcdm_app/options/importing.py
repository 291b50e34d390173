"""The options of `import`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from urcdm_app.options.kinds import ANY_STUDY_PLAN, Overwrite


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `import`."""

    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK=FILE",
            help="The checkpoint of each network, such as 'high-64=a.pt', or of all of a level, such as 'high=b.pt'.",
            show_default=False,
        ),
    ]
    plan: Annotated[Path, typer.Option(help=f"What the networks are: {ANY_STUDY_PLAN}, or a training plan (TOML).")] = (
        Path("study")
    )
    out: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("model")
    raw: Annotated[bool, typer.Option("--raw", help="Take the weights as trained, not their running means (EMA).")] = (
        False
    )
    half: Annotated[bool, typer.Option("--half", help="Store in half precision, in half the room.")] = False
    overwrite: Overwrite = False
