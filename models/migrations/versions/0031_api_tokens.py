"""Save when an API token expires and was last used, and revoke tokens whose person has no role that could use them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0028"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed", "detach_asked",
    "holder_changed", "directory_changed", "directory_withdrawn", "user_invited", "invitation_withdrawn",
    "user_joined", "role_changed", "user_removed", "request_retried", "request_cancelled", "document_opened",
    "document_released", "document_refused", "request_uri_changed",
    "destinations_changed",
)  # fmt: skip
RULES = {
    "expires_later": "expires_at > created_at",
    "last_use_is_whole": "(last_used_at IS NULL) = (last_used_address IS NULL)",
}


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        # Tokens that exist have no expiry: their owners were promised none.
        for name in ("expires_at", "last_used_at"):
            op.add_column("api_tokens", sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True)
        op.add_column("api_tokens", sa.Column("last_used_address", sa.Text(), nullable=True), if_not_exists=True)
        for name, rule in RULES.items():
            full = op.f(f"ck_api_tokens_{name}")
            op.execute(
                # The same statement puts the new one there.
                "-- squawk-ignore ban-drop-constraint\n"
                f"ALTER TABLE api_tokens DROP CONSTRAINT IF EXISTS {full},"
                f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
            )
            op.execute(f"ALTER TABLE api_tokens VALIDATE CONSTRAINT {full}")
        # They can do nothing, and would come to life again with a new role of their person.
        op.execute(
            "UPDATE api_tokens SET revoked_at = now() WHERE revoked_at IS NULL AND NOT EXISTS ("
            "SELECT FROM memberships WHERE memberships.user_id = api_tokens.user_id"
            " AND memberships.account_id = api_tokens.account_id"
            " AND memberships.role IN ('administrator', 'location_manager'))"
        )
        _deeds(*DEEDS, "token_created", "token_revoked")


def downgrade() -> None:
    op.execute("DELETE FROM audit_entries WHERE deed IN ('token_created', 'token_revoked')")
    _deeds(*DEEDS)
    for name in RULES:
        op.drop_constraint(op.f(f"ck_api_tokens_{name}"), "api_tokens", if_exists=True)
    for name in ("last_used_address", "last_used_at", "expires_at"):
        op.drop_column("api_tokens", name, if_exists=True)


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
