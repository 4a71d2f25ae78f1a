"""Save certificates of need for many numbers of a trunk, and since when an invoice offer's mails have reached nobody.

Also add indexes by which audit entries of one kind, and certificates among the uploaded documents, are found.
"""

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
REFUSALS = ("unreadable", "other_address", "other_company", "too_old", "wrong_kind", "does_not_show", "other")
COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("requests", "need_until", sa.TIMESTAMP(timezone=True)),
    ("address_documents", "numbers", sa.Integer()),
    ("sip_trunks", "certified_numbers", sa.Integer()),
    ("invoice_offers", "unreached_since", sa.TIMESTAMP(timezone=True)),
)

INDEXES: tuple[tuple[str, str, list[str], str], ...] = (
    ("ix_audit_entries_account_id_deed_at", "audit_entries", ["account_id", "deed", "at"], ""),
    ("ix_address_documents_certificates", "address_documents", ["request_id"], "numbers IS NOT NULL"),
)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table, column, type in COLUMNS:
            op.add_column(table, sa.Column(column, type, nullable=True), if_not_exists=True)
        SWITCHES._recheck("requests", "reason", added=REASONS)
        _check_refusal(*REFUSALS, "no_need")
        for name, table, columns, where in INDEXES:
            # An interrupted run leaves an invalid index.
            op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                columns,
                postgresql_concurrently=True,
                postgresql_where=sa.text(where) if where else None,
                if_not_exists=True,
            )


def downgrade() -> None:
    for name, table, _columns, _where in INDEXES:
        op.drop_index(name, table_name=table, if_exists=True)
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
    _check_refusal(*REFUSALS)
    SWITCHES._recheck("requests", "reason", removed=REASONS)
    for table, column, _type in reversed(COLUMNS):
        op.drop_column(table, column, if_exists=True)


def _check_refusal(*reasons: str) -> None:
    name, listed = op.f("ck_address_documents_refusal"), ", ".join(f"'{reason}'" for reason in reasons)
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE address_documents DROP CONSTRAINT IF EXISTS {name},"
        f" ADD CONSTRAINT {name} CHECK (refusal IN ({listed})) NOT VALID"
    )
    op.execute(f"ALTER TABLE address_documents VALIDATE CONSTRAINT {name}")
