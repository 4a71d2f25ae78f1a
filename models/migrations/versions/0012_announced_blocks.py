"""Create the queue of number blocks to announce to the registrar, which has to know which numbers are the carrier's.

Existing blocks are due at once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "block_announcements",
        sa.Column("block_id", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name=op.f("ck_block_announcements_lease_ends")),
        sa.ForeignKeyConstraint(["block_id"], ["number_blocks.id"], name=op.f("fk_block_announcements_block_id")),
        sa.PrimaryKeyConstraint("block_id", name=op.f("pk_block_announcements")),
    )
    op.create_index(
        "ix_block_announcements_due_at",
        "block_announcements",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.execute("INSERT INTO block_announcements (block_id, due_at) SELECT id, now() FROM number_blocks")
    op.create_index("ix_number_blocks_first_number", "number_blocks", ["first_number"])


def downgrade() -> None:
    op.drop_index("ix_number_blocks_first_number", table_name="number_blocks")
    op.drop_table("block_announcements")
