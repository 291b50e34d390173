"""Kinds of options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

STUDY_PLANS = ("study", "study-code", "airs")
"""The names in `urcdm.presets.PLANS`, which a help text cannot import: PyTorch comes with them."""
ANY_STUDY_PLAN = " or ".join(", ".join(f"'{name}'" for name in STUDY_PLANS).rsplit(", ", 1))
Plan = Annotated[
    Path,
    typer.Option(
        help=f"Training plan: a TOML file, such as 'urcdm-app plan' prints, or {ANY_STUDY_PLAN}.",
        show_default=False,
    ),
]
MODEL_KINDS = "a model folder, a zip of one, or the id of a Hugging Face repository (owner/name, owner/name@revision)"
Device = Annotated[str, typer.Option(help="'auto', 'cpu', 'cuda' or 'cuda:N'; auto takes a GPU where there is one.")]
Gpus = Annotated[
    str | None,
    typer.Option(
        help="'all', or a number: so many GPUs of this machine train a network each, and then the next. On the CPU: so "
        "many processes, which share the processors.",
        show_default="one, for one network after the other",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that share the work.", show_default="1, or all of a Ray cluster")
]
Ray = Annotated[
    str | None, typer.Option(help="Work on a Ray cluster: 'auto', or its address.", show_default="this machine")
]
