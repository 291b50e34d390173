"""Headers of every response."""

from flask import Flask, Response

HEADERS = {
    # Nothing comes from elsewhere, nothing is written into pages, and no page from elsewhere frames these.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}


def keep_safe(app: Flask, *, https: bool) -> None:
    """Sets the headers of every response of an app, but those that it has; what says nothing of caching is not kept."""
    headers = HEADERS | (HTTPS_HEADERS if https else {}) | {"Cache-Control": "no-store"}

    @app.after_request
    def set_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response
