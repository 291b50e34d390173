"""Studies: made, opened, read and closed. All of it works on a session of the database and knows nothing of the web."""

from study_app.studies.answering import answer, undo
from study_app.studies.classifications import answers_of, classifications, single_classifications
from study_app.studies.errors import Conflict, NoStudyError
from study_app.studies.opening import close_study, open_study
from study_app.studies.progress import ReaderProgress, study_progress
from study_app.studies.readers import add_reader, reader_of, remove_reader, studies_of
from study_app.studies.showing import (
    ReaderState,
    Shown,
    correct_of,
    mark_shown,
    picture_of,
    progress_of,
    reader_state,
)
from study_app.studies.sittings import end_sittings, pause, sit
from study_app.studies.studies import NewStudy, change_study, create_study, study_named

__all__ = [
    "Conflict",
    "NewStudy",
    "NoStudyError",
    "ReaderProgress",
    "ReaderState",
    "Shown",
    "add_reader",
    "answer",
    "answers_of",
    "change_study",
    "classifications",
    "close_study",
    "correct_of",
    "create_study",
    "end_sittings",
    "mark_shown",
    "open_study",
    "pause",
    "picture_of",
    "progress_of",
    "reader_of",
    "reader_state",
    "remove_reader",
    "single_classifications",
    "sit",
    "studies_of",
    "study_named",
    "study_progress",
    "undo",
]
