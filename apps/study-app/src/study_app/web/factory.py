"""Makes the site of an installation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from study_app.accounts import Passwords, SignInRules
from study_app.installing import open_database
from study_app.settings import Settings, load_settings
from study_app.web import admin, failures, media, reader, results, sign_in, slides
from study_app.web.headers import keep_safe
from study_app.web.limits import limit_sign_in
from study_app.web.site import EXTENSION, Site
from study_app.web.visitors import know_visitors
from wsi_tiling.viewer import viewer_files

MOST_BYTES = 64 * 1024
"""Of a request: forms and answers are small."""


def create_app(settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Flask:
    """Makes the site of an installation, and brings its database to the tables of this version.

    Args:
        settings: Of the installation.
        clock: Tells the time, with its zone.

    Raises:
        UsageError: The database cannot be had, or a setting makes no sense.
    """
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="study_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.session_hours),
        MAX_CONTENT_LENGTH=MOST_BYTES,
        WTF_CSRF_TIME_LIMIT=None,  # a token lasts as long as its session
        WTF_CSRF_SSL_STRICT=False,  # it would want the referrer, which the site's headers forbid
    )
    app.extensions[EXTENSION] = Site(
        settings=settings,
        database=open_database(settings),
        passwords=Passwords(settings),
        sign_in_rules=SignInRules(
            idle=timedelta(minutes=settings.session_idle_minutes), longest=timedelta(hours=settings.session_hours)
        ),
        sitting_idle=timedelta(minutes=settings.sitting_idle_minutes),
        clock=clock,
    )
    CSRFProtect(app)
    know_visitors(app)
    failures.tell(app)
    keep_safe(app, https=settings.https)
    for part in (sign_in, reader, media, slides, results, admin):
        app.register_blueprint(part.blueprint)
    app.register_blueprint(viewer_files)
    limit_sign_in(app, settings)
    if settings.proxies:
        count = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


def app_of(folder: str) -> Flask:
    """Makes the site of the installation in a folder, for servers other than `study-app serve`.

    Example: gunicorn 'study_app.web:app_of("FOLDER")'
    """
    return create_app(load_settings(Path(folder)))
