"""A choice for each trunk: the request line of incoming calls names the registered contact or the dialled number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
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
    # A trunk that was there before keeps its behaviour, and so does one that the old version still makes.
    number = sa.Column("request_uri", sa.String(32), server_default="number", nullable=False)
    # A transaction for each statement, so that none locks two tables.
    with op.get_context().autocommit_block():
        op.add_column("sip_trunks", number, if_not_exists=True)
        op.add_column("requests", sa.Column("request_uri", sa.String(32), nullable=True), if_not_exists=True)
        for table in ("sip_trunks", "requests"):
            _check(table)
    _deeds(*DEEDS, "request_uri_changed")


def downgrade() -> None:
    op.execute("DELETE FROM audit_entries WHERE deed = 'request_uri_changed'")
    _deeds(*DEEDS)
    with op.get_context().autocommit_block():
        op.drop_column("requests", "request_uri", if_exists=True)
        op.drop_column("sip_trunks", "request_uri", if_exists=True)


def _check(table: str) -> None:
    """Add a rule, without holding up writers while the rows are read."""
    full = op.f(f"ck_{table}_request_uri")
    # Of an earlier run that was interrupted.
    op.execute(f"-- squawk-ignore ban-drop-constraint\nALTER TABLE {table} DROP CONSTRAINT IF EXISTS {full}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {full} CHECK (request_uri IN ('contact', 'number')) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def _deeds(*deeds: str) -> None:
    """Allow these deeds in the log, without holding up writers while the rows are read."""
    words = ", ".join(f"'{deed}'" for deed in deeds)
    # The rule in its place allows more.
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE audit_entries DROP CONSTRAINT IF EXISTS ck_audit_entries_deed"
    )
    op.execute(f"ALTER TABLE audit_entries ADD CONSTRAINT ck_audit_entries_deed CHECK (deed IN ({words})) NOT VALID")
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE audit_entries VALIDATE CONSTRAINT ck_audit_entries_deed")
