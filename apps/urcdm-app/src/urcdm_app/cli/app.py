"""The command line itself, which the modules of commands put their commands in."""

import typer

app = typer.Typer(
    name="urcdm-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Generate whole histology slides with an ultra-resolution cascade of diffusion models.

Start with **urcdm-app sample**: it draws a slide with the small built-in model, in about a minute on two CPU cores.

For your own slides: **tile** finds the tissue, **train** trains a model on it, **sample** draws from that model,
**view** shows slides side by side in the browser. **export** makes image files of tiles, for other trainers.
""",
)
