"""Responses to errors: a page, or JSON for scripts."""

from flask import Flask, jsonify, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from run_folder import UsageError
from study_app.studies import NoStudyError
from study_app.web.site import wants_json

TEXTS = {
    400: "This request makes no sense.",
    404: "There is nothing here.",
    405: "This cannot be done here.",
    413: "This request is too large.",
    429: "Too many failed attempts to sign in. Wait some minutes, then try again.",
    500: "Something went wrong. What was confirmed is kept; load the page again.",
}


def tell(app: Flask) -> None:
    """Makes an app answer failures; it does so by status alone, without details."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CSRFError, _out_of_date)
    app.register_error_handler(UsageError, lambda error: _answered(400, str(error)))
    app.register_error_handler(NoStudyError, lambda _: _answered(404, TEXTS[404]))


def _http(error: HTTPException) -> ResponseReturnValue:
    code = error.code or 500
    return _answered(code, TEXTS.get(code, error.name), dict(error.get_headers() if code == 405 else ()))


def _out_of_date(_: CSRFError) -> ResponseReturnValue:
    if wants_json() and not current_user.is_authenticated:
        return _answered(401, "You are signed out. Sign in again.")
    return _answered(400, "This page is out of date. Load it again.")


def _answered(code: int, text: str, headers: dict[str, str] | None = None) -> ResponseReturnValue:
    allow = {name: value for name, value in (headers or {}).items() if name == "Allow"}
    if wants_json():
        return jsonify(error=text), code, allow
    return render_template("error.html", text=text, code=code), code, allow
