"""The first tables."""

import sqlalchemy as sa
from alembic import op

from study_app.database import models

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables."""
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column(
            "kind", sa.Enum("pairs", "single", "slides", name="studykind", native_enum=False, length=16), nullable=False
        ),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column(
            "state", sa.Enum("draft", "open", "closed", name="studystate", native_enum=False, length=16), nullable=False
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("size_px", sa.Integer(), nullable=False),
        sa.Column("created", models.UtcTime(), nullable=False),
        sa.Column("opened", models.UtcTime(), nullable=True),
        sa.Column("closed", models.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("name", name=op.f("uq_study_name")),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", models.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("name", name=op.f("uq_user_account_name")),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("is_real", sa.Boolean(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(length=255), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("tissue_share", sa.Double(), nullable=True),
        sa.Column("source", sa.String(length=512), nullable=True),
        sa.Column("x", sa.Double(), nullable=True),
        sa.Column("y", sa.Double(), nullable=True),
        sa.Column("field_um", sa.Double(), nullable=True),
        sa.CheckConstraint("(version IS NULL) = is_real", name=op.f("ck_image_only_synthetic_has_version")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_image_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("study_id", "sha256", name=op.f("uq_image_study_id_sha256")),
    )
    op.create_table(
        "sign_in",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("started", models.UtcTime(), nullable=False),
        sa.Column("last_seen", models.UtcTime(), nullable=False),
        sa.Column("ended", models.UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_sign_in_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in")),
        sa.UniqueConstraint("token", name=op.f("uq_sign_in_token")),
    )
    op.create_index(op.f("ix_sign_in_user_id"), "sign_in", ["user_id"])

    op.create_table(
        "sitting",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("started", models.UtcTime(), nullable=False),
        sa.Column("last_seen", models.UtcTime(), nullable=False),
        sa.Column("ended", models.UtcTime(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=True),
        sa.CheckConstraint("(live IS NULL) = (ended IS NOT NULL)", name=op.f("ck_sitting_lives_until_it_ended")),
        sa.CheckConstraint("live IS NULL OR live", name=op.f("ck_sitting_live_or_null")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_sitting_study_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_sitting_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sitting")),
        sa.UniqueConstraint("study_id", "user_id", "live", name=op.f("uq_sitting_study_id_user_id_live")),
    )
    op.create_index(op.f("ix_sitting_user_id"), "sitting", ["user_id"])

    op.create_table(
        "study_reader",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_reader_study_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_study_reader_user_id")),
        sa.PrimaryKeyConstraint("study_id", "user_id", name=op.f("pk_study_reader")),
    )
    op.create_index(op.f("ix_study_reader_user_id"), "study_reader", ["user_id"])

    op.create_table(
        "item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("real_image_id", sa.Integer(), nullable=True),
        sa.Column("synthetic_image_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "real_image_id IS NOT NULL OR synthetic_image_id IS NOT NULL", name=op.f("ck_item_has_an_image")
        ),
        sa.ForeignKeyConstraint(["real_image_id"], ["image.id"], name=op.f("fk_item_real_image_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_item_study_id")),
        sa.ForeignKeyConstraint(["synthetic_image_id"], ["image.id"], name=op.f("fk_item_synthetic_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint("real_image_id", name=op.f("uq_item_real_image_id")),
        sa.UniqueConstraint("study_id", "position", name=op.f("uq_item_study_id_position")),
        sa.UniqueConstraint("synthetic_image_id", name=op.f("uq_item_synthetic_image_id")),
    )
    op.create_table(
        "showing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("real_side", sa.Enum("left", "right", name="side", native_enum=False, length=16), nullable=True),
        sa.Column("left_token", sa.String(length=43), nullable=False),
        sa.Column("right_token", sa.String(length=43), nullable=True),
        sa.Column("created", models.UtcTime(), nullable=False),
        sa.Column("first_shown", models.UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_showing_item_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_showing_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_showing")),
        sa.UniqueConstraint("left_token", name=op.f("uq_showing_left_token")),
        sa.UniqueConstraint("right_token", name=op.f("uq_showing_right_token")),
        sa.UniqueConstraint("token", name=op.f("uq_showing_token")),
        sa.UniqueConstraint("user_id", "item_id", name=op.f("uq_showing_user_id_item_id")),
    )
    op.create_index(op.f("ix_showing_item_id"), "showing", ["item_id"])

    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("showing_id", sa.Integer(), nullable=False),
        sa.Column("sitting_id", sa.Integer(), nullable=False),
        sa.Column(
            "chosen",
            sa.Enum("left", "right", "real", "synthetic", name="choice", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("correct", sa.Boolean(), nullable=False),
        sa.Column("answered", models.UtcTime(), nullable=False),
        sa.Column("undone", models.UtcTime(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=True),
        sa.CheckConstraint("(live IS NULL) = (undone IS NOT NULL)", name=op.f("ck_answer_lives_until_undone")),
        sa.CheckConstraint("live IS NULL OR live", name=op.f("ck_answer_live_or_null")),
        sa.ForeignKeyConstraint(["showing_id"], ["showing.id"], name=op.f("fk_answer_showing_id")),
        sa.ForeignKeyConstraint(["sitting_id"], ["sitting.id"], name=op.f("fk_answer_sitting_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("showing_id", "live", name=op.f("uq_answer_showing_id_live")),
        sa.UniqueConstraint("token", name=op.f("uq_answer_token")),
    )
    op.create_index(op.f("ix_answer_sitting_id"), "answer", ["sitting_id"])
