"""`urcdm-app view`: slides in the browser, side by side."""

import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path

from run_folder.cli.console import say
from urcdm_app.view.server import DEFAULT_PORT, HOST, create_app, listen, make_viewer_server
from urcdm_app.view.shown import open_to_show


def run_view(paths: list[Path], *, port: int | None, browser: bool) -> None:
    """Serves slides until Ctrl-C; see `urcdm_app.cli.slides.view` for the arguments.

    Raises:
        SlideError: A file is missing, damaged or no slide.
        UsageError: The port cannot be had.
    """
    with ExitStack() as stack:
        slides = [open_to_show(path, number) for number, path in enumerate(paths)]
        for shown in slides:
            stack.enter_context(shown.slide)
        server = make_viewer_server(create_app(slides), listen(port))
        if port is None and server.port != DEFAULT_PORT:
            say(f"port {DEFAULT_PORT} is taken, so this is port {server.port}")
        address = f"http://{HOST}:{server.port}/"
        say(f"{', '.join(shown.name for shown in slides)}: {address} (Ctrl-C ends)")
        if browser:
            # Some browsers, those of a terminal above all, return only when they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()  # returns on Ctrl-C
        say("closed")
