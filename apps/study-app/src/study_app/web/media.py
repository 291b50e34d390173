"""The pictures, each by a random name that is one reader's own and tells nothing."""

from flask import Blueprint, Response, abort

from study_app.stored_images.encoding import MEDIA_TYPE, SUFFIX
from study_app.studies import picture_of
from study_app.web.site import site
from study_app.web.visitors import require_visitor, visitor

blueprint = Blueprint("media", __name__)
blueprint.before_request(require_visitor)


@blueprint.get("/media/<token>")
def picture(token: str) -> Response:
    """A picture: the bytes of its file. Slides have tiles, and no picture."""
    with site().database.reading() as session:
        found = picture_of(session, token, visitor().user_id)
    if found is None or not found.file.endswith(SUFFIX):
        abort(404)
    return picture_response((site().settings.images / found.file).read_bytes())


def picture_response(encoded: bytes) -> Response:
    """Answers a picture, with headers that are the same for all pictures.

    A file's time, its name and its checks (ETag, ranges) would be other ones for each, so there are none.
    """
    response = Response(encoded, content_type=MEDIA_TYPE)
    # Long enough to load the next picture before its turn; no proxy may make it smaller by its contents.
    response.headers["Cache-Control"] = "private, max-age=600, no-transform"
    return response
