"""Opening and closing of a study."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from run_folder import UsageError
from study_app.database import CropPair, Image, Item, StoredCropPlan, Study, StudyKind, StudyState
from study_app.stored_images.encoding import pad_alike
from study_app.stored_images.tiles import TileGrid, tile_length
from study_app.studies.pairing import draw_order, draw_pairs


def open_study(session: Session, study: Study, images: Path, *, now: datetime) -> int:
    """Opens a draft, whose items are fixed from then on, or opens a closed study again.

    Args:
        session: The session.
        study: The study, locked.
        images: Folder of the images of all studies; the files of this one are padded to equal length.
        now: Current time.

    Returns:
        The number of items.

    Raises:
        UsageError: The study is open already or has no images to show, or files of images are missing.
    """
    if study.state is StudyState.OPEN:
        raise UsageError(f"the study '{study.name}' is open already")
    if study.state is StudyState.DRAFT:
        _draw_items(session, study)
    _pad_files(session, study, images)
    study.state = StudyState.OPEN
    study.opened = study.opened or now
    study.closed = None
    session.flush()
    return session.scalar(select(func.count()).where(Item.study_id == study.id)) or 0


def close_study(study: Study, *, now: datetime) -> None:
    """Closes a study: it takes no more answers, and results may be shown.

    Raises:
        UsageError: The study is not open.
    """
    if study.state is not StudyState.OPEN:
        raise UsageError(f"the study '{study.name}' is not open: it is {_STATES[study.state]}")
    study.state = StudyState.CLOSED
    study.closed = now


_STATES = {StudyState.DRAFT: "a draft", StudyState.OPEN: "open", StudyState.CLOSED: "closed"}


def _pad_files(session: Session, study: Study, images: Path) -> None:
    files = session.scalars(select(Image.file).where(Image.study_id == study.id)).all()
    missing = [file for file in files if not (images / file).exists()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(files)} files of images are missing, the first is {images / missing[0]}"
        )
    paths = [images / file for file in files]
    if study.kind is StudyKind.SLIDES:
        study.tile_bytes = tile_length(paths, TileGrid(study.size_px))
    else:
        pad_alike(paths)


def _draw_items(session: Session, study: Study) -> None:
    # sorted by pixels and not by import, so that the items depend on the images and the seed alone
    images = session.scalars(select(Image).where(Image.study_id == study.id).order_by(Image.sha256)).all()
    real = [image.id for image in images if image.is_real]
    synthetic: dict[str, list[int]] = {}
    for image in images:
        if image.version is not None:
            synthetic.setdefault(image.version, []).append(image.id)
    if not real or not synthetic:
        raise UsageError(
            f"the study '{study.name}' has {len(real)} real and {len(images) - len(real)} synthetic images: "
            "it takes some of each; import them first"
        )
    if study.kind is StudyKind.SINGLE:
        real_images = set(real)
        pairs: list[tuple[int | None, int | None]] = [
            (image, None) if image in real_images else (None, image)
            for image in draw_order([image.id for image in images], study.seed)
        ]
    elif crops := _crop_pairs(session, study):
        pairs = [*draw_order(crops, study.seed)]
    else:
        pairs = [*draw_pairs(real, synthetic, study.seed)]
    session.add_all(
        Item(study_id=study.id, position=position, real_image_id=one, synthetic_image_id=other)
        for position, (one, other) in enumerate(pairs)
    )


def _crop_pairs(session: Session, study: Study) -> list[tuple[int, int]]:
    """Pairs of a real and a synthetic crop, which have the same scale."""
    rows = session.execute(
        select(CropPair.real_image_id, CropPair.synthetic_image_id)
        .join(StoredCropPlan, StoredCropPlan.id == CropPair.plan_id)
        .join(Image, Image.id == CropPair.real_image_id)
        .where(StoredCropPlan.study_id == study.id)
        .order_by(Image.sha256)
    )
    return [(real, synthetic) for real, synthetic in rows]
