"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Plan = Annotated[
    Path,
    typer.Option(
        help="Training plan: a TOML file, such as 'urcdm-app plan' prints, or 'study', 'study-code' or 'airs'.",
        show_default=False,
    ),
]
MOST_STEPS = 100_000
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
Out = Annotated[Path, typer.Option(help="The slide; a preview .png and a report .html are written beside it.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, another slide.")]
Steps = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_STEPS, help="Denoising steps of every stage.", show_default="as the model says"),
]
Resample = Annotated[
    int, typer.Option(min=1, help="Run each step this often where patches join (RePaint); slower, smoother.")
]
Joint = Annotated[
    bool,
    typer.Option(
        "--joint/--in-order",
        help="All patches take each step together, averaged where they overlap; or one after the other, each "
        "holding what its neighbours drew.",
    ),
]
Batch = Annotated[
    str, typer.Option(help="Patches sampled together, which does not change the slide; auto measures on a GPU.")
]
Precision = Annotated[str, typer.Option(help="'auto', 'fp32' or 'bf16'; auto takes bf16 on GPUs that have it.")]
Compiled = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the networks first, which takes minutes.",
        show_default="those with minutes of work, on a GPU",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that share the work.", show_default="1, or all of a Ray cluster")
]
Ray = Annotated[
    str | None, typer.Option(help="Work on a Ray cluster: 'auto', or its address.", show_default="this machine")
]
Drawers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Share the patches among workers on Ray: each has a GPU, or an even share of the processors.",
        show_default="1; on a Ray cluster one for each GPU",
    ),
]
