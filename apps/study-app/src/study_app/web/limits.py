"""Slows down who tries passwords.

Unless the settings have a storage for them, the counts are in this process's memory: they start anew with the server,
and each process of a server with several has its own.
"""

from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter
from limits import parse_many
from limits.errors import ConfigurationError

from run_folder import UsageError
from study_app.settings import Settings

_ENDPOINT = "sign_in.enter"


def limit_sign_in(app: Flask, settings: Settings) -> None:
    """Limits failed attempts to sign in, by name and by address.

    Raises:
        UsageError: A limit is none, or there is no such storage.
    """
    for limit in (settings.sign_in_limit_name, settings.sign_in_limit_address):
        try:
            parse_many(limit)
        except ValueError:
            raise UsageError(f"'{limit}' is no limit, such as '10 per 5 minutes'") from None
    limiter = Limiter(_address, storage_uri=settings.sign_in_limit_storage, headers_enabled=False)
    view: Any = app.view_functions[_ENDPOINT]
    for limit, key in ((settings.sign_in_limit_name, _name), (settings.sign_in_limit_address, _address)):
        view = limiter.limit(limit, key_func=key, deduct_when=_failed)(view)
    app.view_functions[_ENDPOINT] = view
    try:
        limiter.init_app(app)
    except ConfigurationError:
        # The library's own message has the address, and so perhaps a password.
        raise UsageError(
            "sign_in_limit_storage is none, such as redis://localhost:6379, or its client has to be installed first"
        ) from None


def _address() -> str:
    return f"address {request.remote_addr}"


def _name() -> str:
    return f"name {request.form.get('name', '').strip().casefold()}"


def _failed(response: Response) -> bool:
    return response.status_code == 401
