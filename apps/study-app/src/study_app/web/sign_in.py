"""Signing in and out."""

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from study_app.accounts import authenticate, begin_sign_in, end_sign_in
from study_app.database import User
from study_app.studies import end_sittings
from study_app.web.site import site
from study_app.web.visitors import Visitor

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
def form() -> ResponseReturnValue:
    """The form."""
    if current_user.is_authenticated:
        return redirect(url_for("reader.studies"))
    return render_template("sign_in.html", name="", wrong=False)


@blueprint.post("/sign-in")
def enter() -> ResponseReturnValue:
    """Signs in, or shows that the name or the password is wrong, without saying which."""
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    here, now = site(), site().clock()
    with here.database.reading() as reading:
        known = authenticate(reading, here.passwords, name, password)
    if known is None:
        return _wrong(name)
    new_hash = here.passwords.hash(password) if here.passwords.is_outdated(known.password_hash) else known.password_hash
    with here.database.writing() as writing:
        user = writing.get_one(User, known.id, with_for_update=True)
        if user.password_hash != known.password_hash:  # it was replaced just now
            return _wrong(name)
        user.password_hash = new_hash
        token = begin_sign_in(writing, user, now=now).token
    session.clear()  # against session fixation
    session.permanent = True
    login_user(Visitor(known.id, known.name, known.is_admin, token))
    return redirect(url_for("reader.studies"), 303)


@blueprint.post("/sign-out")
def leave() -> ResponseReturnValue:
    """Signs out, which ends the reader's sittings."""
    if current_user.is_authenticated:
        now = site().clock()
        with site().database.writing() as writing:
            end_sittings(writing, current_user.user_id, now=now)
            end_sign_in(writing, current_user.token, now=now)
    logout_user()
    session.clear()
    return redirect(url_for("sign_in.form"), 303)


def _wrong(name: str) -> ResponseReturnValue:
    return render_template("sign_in.html", name=name, wrong=True), 401
