"""${message}."""

import sqlalchemy as sa
from alembic import op

from study_app.database import models
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables."""
    ${upgrades if upgrades else "pass"}
