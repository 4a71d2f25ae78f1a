"""Create the table that counts failed attempts, and mark trunks and numbers taken over from another registrar.

The attempts are those to enter a code, a password or a second factor. The table serves installations without Redis.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
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
        # Without CONCURRENTLY, which would leave an invalid index if interrupted: nobody uses the new table yet.
        op.execute(
            "-- squawk-ignore require-concurrent-index-creation\n"
            "CREATE INDEX IF NOT EXISTS ix_attempt_counts_ends_at ON attempt_counts (ends_at)"
        )
        op.add_column(
            "sip_trunks", sa.Column("unadopted_since", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True
        )
        op.add_column("sip_trunks", sa.Column("taken_over_as", sa.LargeBinary(), nullable=True), if_not_exists=True)
        op.add_column(
            "number_blocks",
            sa.Column("ported_in", sa.Boolean(), server_default=sa.false(), nullable=False),
            if_not_exists=True,
        )
        # An interrupted run leaves an invalid index.
        op.drop_index("ix_sip_trunks_unadopted", "sip_trunks", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_sip_trunks_unadopted",
            "sip_trunks",
            ["id"],
            postgresql_where=sa.text("unadopted_since IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_sip_trunks_unadopted", "sip_trunks", if_exists=True)
    op.drop_column("number_blocks", "ported_in", if_exists=True)
    op.drop_column("sip_trunks", "taken_over_as", if_exists=True)
    op.drop_column("sip_trunks", "unadopted_since", if_exists=True)
    op.drop_table("attempt_counts", if_exists=True)
