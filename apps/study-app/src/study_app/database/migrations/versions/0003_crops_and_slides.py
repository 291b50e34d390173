"""Crops of slides, and whole slides."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables."""
    op.add_column("study", sa.Column("mpp", sa.Double(), nullable=True))
    op.add_column("study", sa.Column("tile_bytes", sa.Integer(), nullable=True))
    op.create_table(
        "crop_plan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(length=255), nullable=False),
        sa.Column("mpp", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_crop_plan_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crop_plan")),
        sa.UniqueConstraint("study_id", "version", name=op.f("uq_crop_plan_study_id_version")),
    )
    op.create_table(
        "crop_pair",
        sa.Column("plan_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("real_image_id", sa.Integer(), nullable=False),
        sa.Column("synthetic_image_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["crop_plan.id"], name=op.f("fk_crop_pair_plan_id")),
        sa.ForeignKeyConstraint(["real_image_id"], ["image.id"], name=op.f("fk_crop_pair_real_image_id")),
        sa.ForeignKeyConstraint(["synthetic_image_id"], ["image.id"], name=op.f("fk_crop_pair_synthetic_image_id")),
        sa.PrimaryKeyConstraint("plan_id", "number", name=op.f("pk_crop_pair")),
        sa.UniqueConstraint("real_image_id", name=op.f("uq_crop_pair_real_image_id")),
        sa.UniqueConstraint("synthetic_image_id", name=op.f("uq_crop_pair_synthetic_image_id")),
    )
