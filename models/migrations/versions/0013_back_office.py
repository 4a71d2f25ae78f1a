"""Allow audit entries about actions of staff, and index the requests that wait for the carrier, for the back office."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DEEDS = (
    "looked_in", "secret_seen", "secret_renewed", "trunk_suspended", "trunk_resumed", "numbers_released",
    "account_closed", "forwarding_added", "forwarding_changed", "forwarding_removed",
    "detach_asked", "user_invited", "invitation_withdrawn", "user_joined", "role_changed", "user_removed",
)  # fmt: skip
STAFF_DEEDS = (
    "request_retried", "request_cancelled", "document_opened", "document_released", "document_refused",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("by_staff", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("audit_entries", "by_staff", server_default=None)
    op.execute("UPDATE audit_entries SET by_staff = true WHERE user_id IS NULL")
    _check("somebody_did_it", "by_staff OR user_id IS NOT NULL", is_new=True)
    _check("deed", _one_of((*DEEDS, *STAFF_DEEDS)))
    _check("looked_in_through", "deed <> 'looked_in' OR by_staff OR through_id IS NOT NULL")
    _check("staff_through_nobody", "NOT by_staff OR through_id IS NULL", is_new=True)
    _check("staff_deeds", f"by_staff OR NOT ({_one_of(STAFF_DEEDS)})", is_new=True)
    op.create_index("ix_requests_for_us", "requests", ["id"], postgresql_where=sa.text("status IN ('held', 'failed')"))
    op.create_index(
        "ix_requests_of_unproved_number",
        "requests",
        ["customer_number"],
        postgresql_where=sa.text("account_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_requests_of_unproved_number", table_name="requests")
    op.drop_index("ix_requests_for_us", table_name="requests")
    # The schema before knows the carrier, but nobody of its staff.
    op.execute("DELETE FROM audit_entries WHERE by_staff AND user_id IS NOT NULL")
    for name in ("staff_deeds", "staff_through_nobody", "somebody_did_it"):
        op.drop_constraint(op.f(f"ck_audit_entries_{name}"), "audit_entries")
    _check("looked_in_through", "deed <> 'looked_in' OR through_id IS NOT NULL")
    _check("deed", _one_of(DEEDS))
    op.drop_column("audit_entries", "by_staff")


def _one_of(deeds: tuple[str, ...]) -> str:
    return f"deed IN ({', '.join(repr(deed) for deed in deeds)})"


def _check(name: str, rule: str, *, is_new: bool = False) -> None:
    """Give the audit log the check constraint `name` with the SQL condition `rule`, and check its existing rows.

    It replaces the one of that name, unless it `is_new`. Writers wait until the migration is committed.
    """
    full = op.f(f"ck_audit_entries_{name}")
    if not is_new:
        op.drop_constraint(full, "audit_entries")
    op.create_check_constraint(full, "audit_entries", rule, postgresql_not_valid=True)
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {full}")
