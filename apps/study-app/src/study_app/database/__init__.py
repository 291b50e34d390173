"""The database: its tables, sessions over it, and its upgrades."""

from study_app.database.engine import Database
from study_app.database.models import (
    Answer,
    Base,
    Choice,
    CropPair,
    Image,
    Item,
    Showing,
    Side,
    SignIn,
    Sitting,
    StoredCropPlan,
    Study,
    StudyKind,
    StudyReader,
    StudyState,
    User,
)
from study_app.database.upgrading import upgrade

__all__ = [
    "Answer",
    "Base",
    "Choice",
    "CropPair",
    "Database",
    "Image",
    "Item",
    "Showing",
    "Side",
    "SignIn",
    "Sitting",
    "StoredCropPlan",
    "Study",
    "StudyKind",
    "StudyReader",
    "StudyState",
    "User",
    "upgrade",
]
