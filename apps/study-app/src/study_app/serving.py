"""The site's server."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

from flask import Flask
from waitress.server import create_server

from run_folder import UsageError
from study_app.settings import Settings


def serve(app: Flask, settings: Settings, host: str, port: int, *, started: Callable[[str], None]) -> None:
    """Serves a site until Ctrl-C or SIGTERM; writes in progress are completed.

    Args:
        app: The site.
        settings: Settings of the installation.
        host: Address to listen on.
        port: Port; 0 for any free one.
        started: Function that is called with the site's URL.

    Raises:
        UsageError: The address is not available.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of each request that has to wait
    server = create_server(
        app,
        sockets=[_listen(host, port)],
        threads=settings.threads,
        ident=None,
        max_request_body_size=settings.upload_bytes,
        # the site reads these headers itself behind proxies; without proxies, anyone could set them
        clear_untrusted_proxy_headers=not settings.proxies,
    )
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        name = f"[{server.effective_host}]" if ":" in server.effective_host else server.effective_host
        started(f"http://{name}:{server.effective_port}/")
        server.run()  # returns on Ctrl-C, and on SystemExit
    finally:
        signal.signal(signal.SIGTERM, previous)
        for channel in list(server.active_channels.values()):
            channel.handle_close()
        server.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: {getattr(error, 'strerror', 'no name of a host')}") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise UsageError(f"{host}:{port} cannot be had: {error.strerror}; give another --host or --port") from None
    return opened


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
