"""The server of the viewer: one page, its scripts, and the slides' tiles, for this machine only."""

import errno
import math
import socket
from collections.abc import Sequence
from typing import Any

from flask import Flask, Response, abort, render_template
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from run_folder import UsageError
from urcdm_app.view.shown import ShownSlide
from wsi_tiling import SlideError
from wsi_tiling.viewer import encode_png, read_tile, viewer_files

HOST = "127.0.0.1"
DEFAULT_PORT = 8765
_MOST_COLUMNS = 4
_HEADERS = {
    # The page loads nothing from elsewhere, and no page from elsewhere loads anything from here. OpenSeadragon styles
    # its elements inline.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(slides: Sequence[ShownSlide]) -> Flask:
    """Makes the site that shows slides side by side.

    Addresses name slides by their keys, never by a path, so no request reaches another file.
    """
    app = Flask(__name__)
    app.register_blueprint(viewer_files)
    # A page elsewhere that lets its own name point here (DNS rebinding) would send that name.
    app.config["TRUSTED_HOSTS"] = [HOST, "localhost"]
    by_key = {shown.key: shown for shown in slides}

    @app.get("/")
    def page() -> Response:
        columns = len(slides) if len(slides) <= 3 else min(_MOST_COLUMNS, math.ceil(math.sqrt(len(slides))))
        response = app.make_response(render_template("view.html", slides=slides, columns=columns))
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/tiles/<key>/<int:level>/<int:column>_<int:row>.png")
    def tile(key: str, level: int, column: int, row: int) -> Response:
        shown = by_key.get(key)
        image = None if shown is None else read_tile(shown.slide, shown.pyramid, level, column, row)
        if image is None:
            abort(404)
        response = Response(encode_png(image), mimetype="image/png")
        response.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return response

    @app.errorhandler(SlideError)
    def unreadable(error: SlideError) -> tuple[str, int, dict[str, str]]:
        return str(error), 500, {"Content-Type": "text/plain; charset=utf-8"}

    @app.after_request
    def keep_to_this_machine(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return app


def listen(port: int | None) -> socket.socket:
    """Opens a port of this machine that only this machine reaches.

    Args:
        port: The port; 0 for any free one, None for the usual one or, if that is taken, any free one.

    Raises:
        UsageError: The port is taken, or may not be used.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, DEFAULT_PORT if port is None else port))
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            opened.close()
            return listen(0)
        opened.close()
        raise UsageError(f"--port {port}: {error.strerror}; give another, or 0 for any free one") from None
    opened.listen()
    return opened


def make_viewer_server(app: Flask, opened: socket.socket) -> BaseWSGIServer:
    """Makes the server of a site on an open port, each request in a thread of its own. Takes the port over."""
    port = opened.getsockname()[1]
    server = make_server(HOST, port, app, threaded=True, request_handler=_Quiet, fd=opened.fileno())
    opened.close()  # the server has its own handle
    return server


class _Quiet(WSGIRequestHandler):
    """Does not print every request."""

    def log_request(self, *_: Any) -> None:
        """Says nothing."""
