"""The margin of a study, and whether its readers see their results."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables."""
    op.add_column("study", sa.Column("margin", sa.Double(), server_default=sa.text("0.1"), nullable=False))
    op.add_column("study", sa.Column("results_shown", sa.Boolean(), server_default=sa.false(), nullable=False))
