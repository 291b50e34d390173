"""Pictures, by random tokens that differ between readers and reveal nothing."""

from flask import Blueprint, Response, abort

from study_app.stored_images.encoding import MEDIA_TYPE, SUFFIX
from study_app.studies import picture_of
from study_app.web.site import site
from study_app.web.visitors import require_visitor, visitor

blueprint = Blueprint("media", __name__)
blueprint.before_request(require_visitor)


@blueprint.get("/media/<token>")
def picture(token: str) -> Response:
    """The bytes of a picture's file; slides have tiles instead."""
    with site().database.reading() as session:
        image = picture_of(session, token, visitor().user_id)
    if image is None or not image.file.endswith(SUFFIX):
        abort(404)
    return picture_response((site().settings.images / image.file).read_bytes())


def picture_response(encoded: bytes) -> Response:
    """Makes the response with a picture; its headers are the same for all pictures.

    A file's time, name and ETag would differ between pictures, so they are not sent.
    """
    response = Response(encoded, content_type=MEDIA_TYPE)
    # long enough to preload the next picture; proxies may not recompress it
    response.headers["Cache-Control"] = "private, max-age=600, no-transform"
    return response
