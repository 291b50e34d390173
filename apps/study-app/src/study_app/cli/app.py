"""The command line itself, which the modules of commands put their commands in."""

import typer

app = typer.Typer(
    name="study-app",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Run blinded reader studies: which of two histology images is real?

**init** makes an installation, **import** fills a study with images, **add-reader** lets someone read it, **open**
begins it, **serve** is the site. **report** and **export** tell what came of it, **backup** keeps it.
""",
)
