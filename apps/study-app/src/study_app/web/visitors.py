"""The visitor of a request: Flask-Login with the sign-ins of the database."""

from dataclasses import dataclass

from flask import Flask, abort, current_app, flash, jsonify, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user

from study_app.accounts import is_to_be_seen, live_sign_in, see
from study_app.web.site import site, wants_json


@dataclass(frozen=True)
class Visitor(UserMixin):  # type: ignore[misc]
    """Someone who is signed in.

    Attributes:
        user_id: Number of the user.
        name: Name of the user.
        is_admin: Whether the user administers studies.
        token: Token of the sign-in.
    """

    user_id: int
    name: str
    is_admin: bool
    token: str

    def get_id(self) -> str:
        """The identifier that Flask-Login keeps in the session."""
        return self.token


def know_visitors(app: Flask) -> None:
    """Registers the visitors of requests with an app."""
    manager = LoginManager(app)
    manager.user_loader(_visitor)
    manager.unauthorized_handler(_turned_away)


def visitor() -> Visitor:
    """The visitor of this request; for use behind `require_visitor` only."""
    user = current_user._get_current_object()
    if not isinstance(user, Visitor):
        abort(401)
    return user


def require_visitor() -> ResponseReturnValue | None:
    """Turns away visitors who are not signed in; runs before the requests of a blueprint."""
    return None if current_user.is_authenticated else current_app.login_manager.unauthorized()  # type: ignore[attr-defined]


def require_admin() -> ResponseReturnValue | None:
    """Turns away visitors who are not administrators, as if the page did not exist."""
    turned_away = require_visitor()
    if turned_away is None and not visitor().is_admin:
        abort(404)
    return turned_away


def _visitor(token: str) -> Visitor | None:
    now, rules = site().clock(), site().sign_in_rules
    with site().database.reading() as session:
        sign_in = live_sign_in(session, token, rules, now=now)
    if sign_in is None:
        return None
    if is_to_be_seen(sign_in, rules, now=now):
        with site().database.writing() as session:
            see(session, token, now=now)
    return Visitor(sign_in.user_id, sign_in.user.name, sign_in.user.is_admin, token)


def _turned_away() -> ResponseReturnValue:
    if wants_json():
        return jsonify(error="You are signed out. Sign in again."), 401
    flash("Please sign in.")
    return redirect(url_for("sign_in.form"))
