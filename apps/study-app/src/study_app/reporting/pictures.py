"""Thumbnails of a study's images, for administrators."""

import io
from pathlib import Path

import PIL.Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from run_folder.cli.pages import data_uri
from study_app.database import Image, Study
from study_app.stored_images.tiles import TILES_SUFFIX, read_tile

THUMBNAIL_PX = 192
MEDIA_TYPE = "image/jpeg"
_QUALITY = 88
_LONGEST_TILE = 1 << 20


def synthetic_images(session: Session, study: Study) -> dict[str, Image]:
    """The synthetic images of a study by their names in its answers, such as 2026-05/a.png."""
    images = session.scalars(select(Image).where(Image.study_id == study.id, Image.is_real.is_(False)))
    return {f"{image.version}/{image.name}": image for image in images}


def thumbnail(path: Path, size_px: int = THUMBNAIL_PX) -> bytes:
    """A thumbnail of a picture as JPEG; for a slide, of the tile that shows all of it.

    Raises:
        OSError: The picture is missing or damaged.
    """
    source = io.BytesIO(read_tile(path, 0, _LONGEST_TILE)) if path.suffix == TILES_SUFFIX else path
    with PIL.Image.open(source) as picture:
        small = picture.convert("RGB")
    small.thumbnail((size_px, size_px), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def thumbnail_source(path: Path) -> str:
    """A thumbnail as the source of an image in a page."""
    return data_uri(thumbnail(path), MEDIA_TYPE)
