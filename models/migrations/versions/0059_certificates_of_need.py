"""Certificates of need for more than 100 numbers of a trunk; the index by which deeds of one kind are found in a log."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

SWITCHES = import_module("models.migrations.versions.0055_switches")
REASONS = ("need_not_proved", "certificate_in_review")
COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("requests", "need_until", sa.TIMESTAMP(timezone=True)),
    ("address_documents", "numbers", sa.Integer()),
    ("sip_trunks", "certified_numbers", sa.Integer()),
)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table, column, type in COLUMNS:
            op.add_column(table, sa.Column(column, type, nullable=True), if_not_exists=True)
        SWITCHES._recheck("requests", "reason", added=REASONS)
        SWITCHES._recheck("address_documents", "refusal", added=("no_need",))
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
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    # The version before would assign the numbers without a certificate, and has no words for it.
    op.execute(
        "UPDATE requests SET status = 'cancelled', reason = 'cancelled_by_back_office', ended_at = now(),"  # noqa: S608
        f" waiting_for = NULL, waiting_until = NULL, due_at = NULL, lease = NULL WHERE reason IN ({reasons})"
    )
    op.execute(
        "DELETE FROM timeline_entries WHERE code IN ('certificate_received', 'certificate_released',"  # noqa: S608
        f" 'certificate_refused') OR (code = 'pending' AND facts ->> 'reason' IN ({reasons}))"
    )
    op.execute("DELETE FROM messages WHERE template IN ('certificate_refused', 'certificate_reminder')")
    op.execute("DELETE FROM address_documents WHERE numbers IS NOT NULL")
    SWITCHES._recheck("address_documents", "refusal", removed=("no_need",))
    SWITCHES._recheck("requests", "reason", removed=REASONS)
    for table, column, _type in reversed(COLUMNS):
        op.drop_column(table, column, if_exists=True)
