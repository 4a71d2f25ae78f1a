"""Save for each trunk what the request line of incoming calls names: the registered contact or the dialled number.

Phone systems differ in what they expect. Existing trunks keep the dialled number; an order may choose.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused",
)  # fmt: skip


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        # A trunk that was there before keeps its behaviour, and so does one that the old version still makes.
        number = sa.Column("request_uri", sa.String(32), server_default="number", nullable=False)
        op.add_column("sip_trunks", number, if_not_exists=True)
        op.add_column("requests", sa.Column("request_uri", sa.String(32), nullable=True), if_not_exists=True)
        for table in ("sip_trunks", "requests"):
            _check(table)
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {op.f(f'ck_{table}_request_uri')}")
        _deeds(*DEEDS, "request_uri_changed")


def downgrade() -> None:
    op.execute("DELETE FROM audit_entries WHERE deed = 'request_uri_changed'")
    _deeds(*DEEDS)
    op.drop_column("requests", "request_uri", if_exists=True)
    op.drop_column("sip_trunks", "request_uri", if_exists=True)


def _check(table: str) -> None:
    """Allow only `contact` and `number` as request_uri of new rows (NOT VALID: existing rows are checked later)."""
    full = op.f(f"ck_{table}_request_uri")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {full},"
        f" ADD CONSTRAINT {full} CHECK (request_uri IN ('contact', 'number')) NOT VALID"
    )


def _deeds(*deeds: str) -> None:
    """Allow exactly these values of `deed`, the kind of an entry, in the audit log, then check existing rows.

    The check does not block writers if each statement commits on its own.
    """
    words = ", ".join(f"'{deed}'" for deed in deeds)
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS ck_audit_entries_deed,"
        f" ADD CONSTRAINT ck_audit_entries_deed CHECK (deed IN ({words})) NOT VALID"
    )
    op.execute("ALTER TABLE audit_entries VALIDATE CONSTRAINT ck_audit_entries_deed")
