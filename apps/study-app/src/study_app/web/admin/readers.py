"""Users, and the readers of each study."""

from flask import abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.accounts import add_user, is_user, new_password, set_active, set_password, user_named
from study_app.database import SignIn, Study, StudyReader, User
from study_app.studies import add_reader, remove_reader, study_named
from study_app.web.admin.blueprint import blueprint
from study_app.web.admin.sent import text
from study_app.web.site import site
from study_app.web.visitors import visitor


@blueprint.post("/studies/<name>/readers")
def add(name: str) -> ResponseReturnValue:
    """Lets someone read a study; who is new gets a password, which is shown this once."""
    reader, password = text("reader"), new_password()
    now = site().clock()
    with site().database.writing() as session:
        study = study_named(session, name, lock=True)
        known = is_user(session, reader)
        user = user_named(session, reader) if known else add_user(session, site().passwords, reader, password, now=now)
        add_reader(session, study, user)
    if user.is_admin:
        flash(f"{reader} is an administrator, and can look up what is real: let others do the reading.")
    if not known:
        return _password_page(reader, password, url_for("admin.study", name=name))
    flash(f"{reader} reads this study, with the password of before.")
    return redirect(url_for("admin.study", name=name), 303)


@blueprint.post("/studies/<name>/readers/remove")
def remove(name: str) -> ResponseReturnValue:
    """Takes back that someone reads a study, if they have not begun."""
    with site().database.writing() as session:
        remove_reader(session, study_named(session, name, lock=True), user_named(session, text("reader")))
    flash(f"{text('reader')} no longer reads this study.")
    return redirect(url_for("admin.study", name=name), 303)


@blueprint.get("/users")
def users() -> ResponseReturnValue:
    """Everyone who can sign in."""
    with site().database.reading() as session:
        seen = select(func.max(SignIn.last_seen)).where(SignIn.user_id == User.id).scalar_subquery()
        everyone = [(user, last_seen) for user, last_seen in session.execute(select(User, seen).order_by(User.name))]
        reads: dict[int, list[str]] = {}
        for user_id, study in session.execute(select(StudyReader.user_id, Study.name).join(Study).order_by(Study.name)):
            reads.setdefault(user_id, []).append(study)
    return render_template("admin/users.html", users=everyone, reads=reads)


@blueprint.post("/users")
def add_admin() -> ResponseReturnValue:
    """Adds someone who may run studies; the password is shown this once."""
    name, password = text("user"), new_password()
    with site().database.writing() as session:
        add_user(session, site().passwords, name, password, now=site().clock(), is_admin=True)
    return _password_page(name, password, url_for("admin.users"))


@blueprint.post("/users/<int:user_id>/password")
def reset_password(user_id: int) -> ResponseReturnValue:
    """Gives someone another password, which is shown this once; wherever they are signed in, they are signed out."""
    password = new_password()
    with site().database.writing() as session:
        user = _user(session, user_id)
        set_password(session, site().passwords, user, password, now=site().clock())
    return _password_page(user.name, password, url_for("admin.users"))


@blueprint.post("/users/<int:user_id>/active")
def activate(user_id: int) -> ResponseReturnValue:
    """Lets someone sign in, or no longer."""
    active = text("active") == "yes"
    if user_id == visitor().user_id and not active:
        raise UsageError("you cannot disable yourself: let another administrator do it")
    with site().database.writing() as session:
        user = _user(session, user_id)
        set_active(session, user, active, now=site().clock())
    flash(f"{user.name} can sign in again." if active else f"{user.name} can no longer sign in.")
    return redirect(url_for("admin.users"), 303)


def _user(session: Session, user_id: int) -> User:
    return session.get(User, user_id) or abort(404)


def _password_page(name: str, password: str, back: str) -> ResponseReturnValue:
    """A page, and not a message after a redirect: that would keep the password in a cookie."""
    return render_template("admin/password.html", name=name, password=password, back=back)
