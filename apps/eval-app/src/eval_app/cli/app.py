"""The command line itself, which the modules of commands put their commands in."""

import typer

app = typer.Typer(
    name="eval-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Measure generated images and whole slides against real ones.

**fid** measures whole images, **pfid** slides and images of any size by crops, **memorise** finds copies of training
images, **two-sample** trains a classifier to tell generated from real images, **report** makes one page of their
results. **export** writes a data set for StyleGAN3, to compare with.
""",
)
