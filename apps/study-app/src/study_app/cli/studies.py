"""Commands on studies that have their images. What takes time to import is imported by the command that needs it."""

from typing import Annotated

import typer

from run_folder.cli.console import say
from study_app.cli.app import app
from study_app.cli.options import Folder, PasswordFile, StudyName, read_password
from study_app.settings import load_settings


@app.command()
def add_reader(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Name that the reader signs in with.", show_default=False)],
    study: Annotated[list[str], typer.Option(help="Study to read; may be repeated.", show_default=False)],
    password_file: PasswordFile = None,
) -> None:
    """Let someone read a study; a new reader gets a password, an existing user keeps the old one.

    Example: **study-app add-reader reading berta --study tiles**
    """
    from datetime import UTC, datetime

    from study_app import studies
    from study_app.accounts import Passwords, add_user, is_user, user_named
    from study_app.installing import opened

    settings = load_settings(folder)
    with opened(settings) as database:
        with database.reading() as session:
            for study_name in study:
                studies.study_named(session, study_name)
            known = is_user(session, name)
        password = "" if known else read_password(password_file, name)
        with database.writing() as session:
            if known:
                user = user_named(session, name)
            else:
                user = add_user(session, Passwords(settings), name, password, now=datetime.now(UTC))
            for study_name in study:
                studies.add_reader(session, studies.study_named(session, study_name), user)
    say(f"{name} reads {', '.join(study)}" + (", with the password of before" if known else ""))


@app.command()
def set_password(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Name of the user.", show_default=False)],
    password_file: PasswordFile = None,
) -> None:
    """Change a user's password, and sign the user out everywhere.

    Example: **study-app set-password reading berta**
    """
    from datetime import UTC, datetime

    from study_app import accounts
    from study_app.installing import opened

    settings = load_settings(folder)
    with opened(settings) as database:
        with database.reading() as session:
            accounts.user_named(session, name)
        password = read_password(password_file, name)
        with database.writing() as session:
            user = accounts.user_named(session, name)
            accounts.set_password(session, accounts.Passwords(settings), user, password, now=datetime.now(UTC))
    say(f"{name} has another password")


@app.command("open")
def open_(folder: Folder, study: StudyName) -> None:
    """Open a study to its readers; its pairs are chosen at random and then fixed. A closed study is opened again.

    Example: **study-app open reading tiles**
    """
    from datetime import UTC, datetime

    from study_app.installing import opened
    from study_app.studies import open_study, study_named

    settings = load_settings(folder)
    with opened(settings) as database, database.writing() as session:
        row = study_named(session, study, lock=True)
        count = open_study(session, row, settings.images, now=datetime.now(UTC))
    say(f"{study} is open: {count:,} {'images' if row.kind == 'single' else 'pairs'}")


@app.command()
def close(folder: Folder, study: StudyName) -> None:
    """Close a study: it takes no more answers.

    Example: **study-app close reading tiles**
    """
    from datetime import UTC, datetime

    from study_app.installing import opened
    from study_app.studies import close_study, study_named

    with opened(load_settings(folder)) as database, database.writing() as session:
        close_study(study_named(session, study, lock=True), now=datetime.now(UTC))
    say(f"{study} is closed")
