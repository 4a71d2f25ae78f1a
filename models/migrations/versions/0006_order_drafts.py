"""Create the table of order drafts, so that an order can be resumed later; a draft names the request it became."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STEPS = ("product", "location", "numbers", "contact", "summary")


def upgrade() -> None:
    op.create_table(
        "order_drafts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "step",
            sa.Enum(*STEPS, name="step", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_order_drafts_account_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_order_drafts_user_id")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_order_drafts_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_drafts")),
        sa.UniqueConstraint("request_id", name=op.f("uq_order_drafts_request_id")),
    )
    op.create_index("ix_order_drafts_account_id_updated_at", "order_drafts", ["account_id", "updated_at"])
    op.create_index(op.f("ix_order_drafts_user_id"), "order_drafts", ["user_id"])
    op.create_index(op.f("ix_order_drafts_updated_at"), "order_drafts", ["updated_at"])


def downgrade() -> None:
    op.drop_table("order_drafts")
