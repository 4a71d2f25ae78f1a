"""The registrar is told which number blocks are ours; those that are there are due at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The rows get it by the default, without being written anew.
    due_at = sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=True)
    op.add_column("number_blocks", due_at)
    op.alter_column("number_blocks", "due_at", server_default=None)
    op.add_column("number_blocks", sa.Column("lease", sa.Uuid(), nullable=True))
    op.add_column("number_blocks", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_number_blocks_lease_ends"), "number_blocks", "due_at IS NOT NULL OR lease IS NULL"
    )
    op.create_index(
        "ix_number_blocks_due_at", "number_blocks", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index("ix_number_blocks_first_number", "number_blocks", ["first_number"])


def downgrade() -> None:
    op.drop_index("ix_number_blocks_first_number", table_name="number_blocks")
    op.drop_index("ix_number_blocks_due_at", table_name="number_blocks")
    op.drop_constraint(op.f("ck_number_blocks_lease_ends"), "number_blocks")
    for column in ("attempts", "lease", "due_at"):
        op.drop_column("number_blocks", column)
