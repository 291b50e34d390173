"""Commands on an installation as a whole. What takes time to import is imported by the command that needs it."""

from pathlib import Path
from typing import Annotated

import typer

from run_folder.cli.console import say
from study_app.cli.app import app
from study_app.cli.options import Folder, PasswordFile, read_password
from study_app.settings import load_settings


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not be there yet.", show_default=False)],
    admin: Annotated[
        str | None, typer.Option(help="Name of the first administrator.", show_default="asked for")
    ] = None,
    password_file: PasswordFile = None,
    database_url: Annotated[
        str, typer.Option(help="Of a database of your own, as SQLAlchemy has it.", show_default="SQLite, in the folder")
    ] = "",
    https: Annotated[
        bool, typer.Option("--https", help="Readers come by https, through a proxy: cookies are sent by it alone.")
    ] = False,
) -> None:
    """Make an installation: settings, a secret, a database, and the first administrator.

    Example: **study-app init reading --admin anna**
    """
    from run_folder import UsageError
    from study_app.installing import install

    if folder.exists():
        raise UsageError(f"{folder} exists; give the name of a new folder")
    name = admin if admin is not None else str(typer.prompt("Name of the administrator"))
    install(folder, admin=name, password=read_password(password_file, name), database_url=database_url, https=https)
    say(f"{folder}: ready. Next: study-app import {folder} --help")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not be there yet.", show_default=False)],
    real: Annotated[Path, typer.Option(help="A real slide.", show_default=False)],
    generated: Annotated[
        Path | None, typer.Option(help="A slide that a model drew.", show_default="drawn now, by urcdm-app")
    ] = None,
) -> None:
    """Make an installation to try: pairs of crops, single crops and whole slides, a reader and an administrator.

    Without **--generated**, urcdm-app draws a slide with its built-in model, in some minutes; stopped, it goes on with
    the same command.

    Example: **study-app demo trial --real CMU-1-Small-Region.svs**
    """
    from study_app.demonstration import run_demo

    run_demo(folder, real, generated)


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    proxies: Annotated[
        int | None, typer.Option(min=0, help="Proxies in front of the site.", show_default="as in study.toml")
    ] = None,
) -> None:
    """Serve the site until Ctrl-C.

    Example: **study-app serve reading**
    """
    from dataclasses import replace

    from study_app.serving import serve as serve_site
    from study_app.web import create_app

    settings = load_settings(folder)
    if proxies is not None:
        settings = replace(settings, proxies=proxies)
    serve_site(create_app(settings), settings, host, port, started=lambda address: say(f"{address} (Ctrl-C ends)"))
    say("stopped")


@app.command()
def backup(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The tar file.", show_default=False)],
) -> None:
    """Keep an installation in one file, while it is served: unpacked, it is the installation again.

    Example: **study-app backup reading --out reading.tar**
    """
    from study_app.backup import back_up

    back_up(load_settings(folder), out)
    say(f"{out}: written; it holds the secret and what is real")
