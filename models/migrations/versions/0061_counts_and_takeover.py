"""Counts of failed attempts, for an installation without Redis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempt_counts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_attempt_counts_attempts_not_negative")),
        sa.PrimaryKeyConstraint("key", "number", name=op.f("pk_attempt_counts")),
        if_not_exists=True,
    )
    op.create_index("ix_attempt_counts_ends_at", "attempt_counts", ["ends_at"], if_not_exists=True)


def downgrade() -> None:
    op.drop_table("attempt_counts", if_exists=True)
