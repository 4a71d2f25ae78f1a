"""The index by which deeds of one kind are found in a long audit log."""

from __future__ import annotations

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        # An interrupted run leaves an invalid index.
        op.drop_index(
            "ix_audit_entries_account_id_deed_at",
            table_name="audit_entries",
            postgresql_concurrently=True,
            if_exists=True,
        )
        op.create_index(
            "ix_audit_entries_account_id_deed_at",
            "audit_entries",
            ["account_id", "deed", "at"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_audit_entries_account_id_deed_at", table_name="audit_entries", if_exists=True)
