"""A study in files: the classifications as CSV, or all of it as JSON."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from run_folder import UsageError, refuse_existing
from study_app.database import Answer, Image, Item, Showing, Study, User
from study_app.outputs import whole_file
from study_app.studies import answers_of, study_progress


def export_study(session: Session, study: Study, path: Path, *, overwrite: bool = False) -> int:
    """Writes the answers of a study in the format of the file's ending: .csv for study-stats, or .json for all data.

    Returns:
        The number of answers in the file.

    Raises:
        UsageError: The file exists already, or its name has another ending.
    """
    refuse_existing([path], overwrite=overwrite)
    if path.suffix == ".csv":
        from study_stats import write_classifications

        answers = answers_of(session, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_classifications(answers, path)
        return len(answers)
    if path.suffix == ".json":
        document = study_document(session, study)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return len(document["answers"])
    raise UsageError(f"{path}: wanted a name that ends in .csv or .json")


def study_document(session: Session, study: Study) -> dict[str, Any]:
    """All data of a study as plain values: its items, its images and all answers, including undone ones."""
    items = session.scalars(
        select(Item)
        .where(Item.study_id == study.id)
        .order_by(Item.position)
        .options(joinedload(Item.real_image), joinedload(Item.synthetic_image))
    )
    answers = session.execute(
        select(Answer, Showing, Item.position, User.name)
        .join(Answer.showing)
        .join(Showing.item)
        .join(User, User.id == Showing.user_id)
        .where(Item.study_id == study.id)
        .order_by(Answer.answered, Answer.id)
    )
    return {
        "study": {
            "name": study.name,
            "title": study.title,
            "kind": study.kind,
            "question": study.question,
            "state": study.state,
            "seed": study.seed,
            "size_px": study.size_px,
            "mpp": study.mpp,
            "margin": study.margin,
            **{name: _text(getattr(study, name)) for name in ("created", "opened", "closed")},
        },
        "readers": [
            {**asdict(reader), "last_answer": _text(reader.last_answer), "last_seen": _text(reader.last_seen)}
            for reader in study_progress(session, study)
        ],
        "items": [
            {"position": item.position, "real": _image(item.real_image), "synthetic": _image(item.synthetic_image)}
            for item in items
        ],
        "answers": [
            {
                "reader": reader,
                "position": position,
                "real_side": showing.real_side,
                "chosen": answer.chosen,
                "correct": answer.correct,
                "first_shown": _text(showing.first_shown),
                "answered": _text(answer.answered),
                "undone": _text(answer.undone),
                "session": str(answer.sitting_id),
            }
            for answer, showing, position, reader in answers
        ],
    }


def _image(image: Image | None) -> dict[str, Any] | None:
    if image is None:
        return None
    names = ("name", "version", "sha256", "width", "height", "tissue_share", "source", "x", "y", "field_um")
    return {name: getattr(image, name) for name in names}


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
