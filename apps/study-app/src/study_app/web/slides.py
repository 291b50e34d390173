"""Tiles of slides, by the random token of the slide for one reader and by their position."""

from typing import Any

from flask import Blueprint, Response, abort

from study_app.database import Study
from study_app.stored_images.tiles import TileGrid, read_tile
from study_app.studies import picture_of
from study_app.web.media import picture_response
from study_app.web.site import site
from study_app.web.visitors import require_visitor, visitor

blueprint = Blueprint("slides", __name__)
blueprint.before_request(require_visitor)


@blueprint.get("/media/<token>/<int:level>/<int:column>_<int:row>")
def tile(token: str, level: int, column: int, row: int) -> Response:
    """A tile of a slide: as many bytes as every tile of the study, with the headers of all pictures."""
    with site().database.reading() as session:
        slide = picture_of(session, token, visitor().user_id)
        study = None if slide is None else session.get_one(Study, slide.study_id)
    if slide is None or study is None or study.tile_bytes is None:
        abort(404)
    number = TileGrid(study.size_px).number(level, column, row)
    if number is None:
        abort(404)
    return picture_response(read_tile(site().settings.images / slide.file, number, study.tile_bytes))


@blueprint.app_template_global()
def tile_grid(study: Study) -> dict[str, Any]:
    """Description of the tiles for the viewer, the same for all slides of a study."""
    return {**TileGrid(study.size_px).pyramid.facts(), "um": study.mpp}
