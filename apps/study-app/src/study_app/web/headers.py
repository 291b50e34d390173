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
    """Sets the headers of every response of an app; what says nothing of caching is not kept anywhere."""
    headers = HEADERS | (HTTPS_HEADERS if https else {})

    @app.after_request
    def set_headers(response: Response) -> Response:
        response.headers.update(headers)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
