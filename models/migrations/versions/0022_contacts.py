"""A contact's address that refuses our question is known, and deadlines that are said as a day end with that day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

REASONS = (
    "ownership_not_proven", "consent_awaited", "declined_by_owner", "email_not_confirmed", "address_not_proved",
    "document_in_review", "already_attached", "is_main_account", "is_sub_account", "same_account", "account_closed",
    "not_attached", "billed_together", "area_code_mismatch", "product_not_orderable", "no_numbers_available",
    "gateway_unavailable", "gateway_refused", "internal_error", "cancelled_by_requester", "cancelled_by_back_office",
    "proof_expired", "no_administrator", "invitation_open",
)  # fmt: skip
NEW_REASONS = (*REASONS[:4], "contact_refused", *REASONS[4:])
OPEN = {
    "email_proofs": "proved_at IS NULL",
    "address_proofs": "proved_at IS NULL",
    "consents": "decision IS NULL",
    "link_codes": "ended_at IS NULL",
    "invitations": "true",
}
"""By table, which rows wait for a person until their `expires_at`."""


def upgrade() -> None:
    op.add_column(
        "email_proofs", sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
    )
    _check(NEW_REASONS)
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE requests VALIDATE CONSTRAINT ck_requests_reason")
        for table, is_open in OPEN.items():
            # Midnight is the end of a day already.
            op.execute(
                f"UPDATE {table} SET expires_at = (date_trunc('day', (expires_at - interval '1 microsecond')"  # noqa: S608 - names of our own tables
                " AT TIME ZONE 'Europe/Berlin') + interval '1 day') AT TIME ZONE 'Europe/Berlin'"
                f" WHERE {is_open} AND expires_at > now()"
            )


def downgrade() -> None:
    # The schema before knows this wait as one for the contact.
    op.execute(
        "UPDATE requests SET reason = 'email_not_confirmed', waiting_for = 'contact' WHERE reason = 'contact_refused'"
    )
    _check(REASONS)
    op.drop_column("email_proofs", "refused_at", if_exists=True)


def _check(reasons: tuple[str, ...]) -> None:
    """Put a list of reasons in the place of the one before; rows are compared with it afterwards, without a lock."""
    name, listed = op.f("ck_requests_reason"), ", ".join(repr(reason) for reason in reasons)
    op.execute(f"-- squawk-ignore ban-drop-constraint\nALTER TABLE requests DROP CONSTRAINT IF EXISTS {name}")
    op.create_check_constraint(name, "requests", f"reason IN ({listed})", postgresql_not_valid=True)
