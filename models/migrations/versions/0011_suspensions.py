"""Prepare the schema for suspending trunks, returning numbers and closing accounts.

Adds columns for who suspended a trunk and why, and for when a product of a contract was returned. Allows audit entries
about actions of the carrier. A closed account has no main account.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BEFORE = (
    "looked_in", "secret_seen", "secret_renewed", "forwarding_added", "forwarding_changed", "forwarding_removed",
    "detach_asked", "user_invited", "invitation_withdrawn", "user_joined", "role_changed", "user_removed",
)  # fmt: skip
NEW = ("trunk_suspended", "trunk_resumed", "numbers_released", "account_closed")


def upgrade() -> None:
    for name in ("customer_suspended_at", "carrier_suspended_at"):
        op.add_column("sip_trunks", sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("sip_trunks", sa.Column("carrier_reason", sa.Text(), nullable=True))
    # So far only the carrier could suspend a trunk, by SQL. The registrar does not know of it yet: it is told now.
    op.execute(
        "UPDATE sip_trunks SET carrier_suspended_at = now(), carrier_reason = 'Bitte wenden Sie sich an uns.',"
        " due_at = now(), lease = NULL WHERE state = 'suspended'"
    )
    op.create_check_constraint(
        op.f("ck_sip_trunks_suspended_by_somebody"),
        "sip_trunks",
        "state = 'closed' OR (state = 'suspended')"
        " = (customer_suspended_at IS NOT NULL OR carrier_suspended_at IS NOT NULL)",
    )
    op.create_check_constraint(
        op.f("ck_sip_trunks_carrier_says_why"),
        "sip_trunks",
        "(carrier_suspended_at IS NULL) = (carrier_reason IS NULL) AND carrier_reason <> ''",
    )
    op.execute(
        "UPDATE accounts SET role = 'standalone', main_id = NULL, origin = NULL, attached_at = NULL"
        " WHERE state = 'closed' AND role = 'sub'"
    )
    op.create_check_constraint(
        op.f("ck_accounts_closed_stands_alone"), "accounts", "state <> 'closed' OR role <> 'sub'"
    )
    op.add_column("contract_items", sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.alter_column("audit_entries", "user_id", nullable=True)
    _deeds(*BEFORE[:3], *NEW, *BEFORE[3:])


def downgrade() -> None:
    deeds = ", ".join(f"'{deed}'" for deed in NEW)
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({deeds})")  # noqa: S608 - words of our own
    _deeds(*BEFORE)
    op.alter_column("audit_entries", "user_id", nullable=False)
    # The schema before knows a contract as a whole: what was given back is not billed again.
    op.execute("DELETE FROM contract_items WHERE ended_at IS NOT NULL")
    op.drop_column("contract_items", "ended_at")
    op.drop_constraint(op.f("ck_accounts_closed_stands_alone"), "accounts")
    op.drop_constraint(op.f("ck_sip_trunks_carrier_says_why"), "sip_trunks")
    op.drop_constraint(op.f("ck_sip_trunks_suspended_by_somebody"), "sip_trunks")
    for name in ("carrier_reason", "carrier_suspended_at", "customer_suspended_at"):
        op.drop_column("sip_trunks", name)


def _deeds(*deeds: str) -> None:
    op.drop_constraint(op.f("ck_audit_entries_deed"), "audit_entries")
    words = ", ".join(f"'{deed}'" for deed in deeds)
    op.create_check_constraint(op.f("ck_audit_entries_deed"), "audit_entries", f"deed IN ({words})")
