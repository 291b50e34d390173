"""The objects that every part of the site uses."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from flask import current_app, request

from study_app.accounts import Passwords, SignInRules
from study_app.database import Database
from study_app.settings import Settings

EXTENSION = "study_app"


@dataclass(frozen=True)
class Site:
    """The installation that an app serves.

    Attributes:
        settings: Its settings.
        database: Its database.
        passwords: Checks passwords.
        sign_in_rules: When one has to sign in again.
        sitting_idle: When a reader's sitting has ended.
        clock: Tells the time.
    """

    settings: Settings
    database: Database
    passwords: Passwords
    sign_in_rules: SignInRules
    sitting_idle: timedelta
    clock: Callable[[], datetime]


def site() -> Site:
    """The installation that answers this request."""
    return cast(Site, current_app.extensions[EXTENSION])


def wants_json() -> bool:
    """Whether a script sent this request, and not a form or a link."""
    return request.is_json or request.accept_mimetypes.best == "application/json"
