"""Record when a mail server refused the address of an order's contact, and move open deadlines to the end of the day.

`email_proofs.refused_at` is the time of the refusal; the request waits with the reason `contact_refused`. A deadline
that people read as a day ends with that day in Berlin.
"""

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
    "email_proofs": ("main_id, address", "proved_at IS NULL"),
    "address_proofs": ("main_id, address_key", "proved_at IS NULL"),
    "consents": ("request_id", "decision IS NULL"),
    "link_codes": ("id", "ended_at IS NULL"),
    "invitations": ("id", "true"),
}
"""By table: its primary key, and which rows wait for a person until their `expires_at`."""
_LATER = (
    "(date_trunc('day', (expires_at - interval '1 microsecond') AT TIME ZONE 'Europe/Berlin') + interval '1 day')"
    " AT TIME ZONE 'Europe/Berlin'"
)
"""SQL for the end of the day, in Berlin, in which `expires_at` lies; midnight is the end of the day before."""


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column(
            "email_proofs", sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
        )
        _check(NEW_REASONS)
        op.execute("ALTER TABLE requests VALIDATE CONSTRAINT ck_requests_reason")
        for table, (key, is_open) in OPEN.items():
            _end_with_the_day(table, key, is_open)


def downgrade() -> None:
    # The schema before knows this wait as one for the contact.
    op.execute(
        "UPDATE requests SET reason = 'email_not_confirmed', waiting_for = 'contact' WHERE reason = 'contact_refused'"
    )
    _check(REASONS)
    op.drop_column("email_proofs", "refused_at", if_exists=True)


def _check(reasons: tuple[str, ...]) -> None:
    """Allow exactly these reasons for new rows of requests (NOT VALID: existing rows are not checked here)."""
    name, listed = op.f("ck_requests_reason"), ", ".join(repr(reason) for reason in reasons)
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {name},"
        f" ADD CONSTRAINT {name} CHECK (reason IN ({listed})) NOT VALID"
    )


def _end_with_the_day(table: str, key: str, is_open: str) -> None:
    """Move the deadlines (`expires_at`) of a table's open rows to the end of their day, 500 rows a transaction.

    `key` has the columns of the primary key, `is_open` the SQL condition of rows that wait for a person. Rows are
    locked in the order of their keys, as the programs do it, so that there is no deadlock.
    """
    op.execute(f"""
        DO $$ DECLARE moved bigint;
        BEGIN
            LOOP
                UPDATE {table} SET expires_at = {_LATER} WHERE ({key}) IN (
                    SELECT {key} FROM {table} WHERE {is_open} AND expires_at > now() AND expires_at <> {_LATER}
                    ORDER BY {key} LIMIT 500 FOR UPDATE
                );
                GET DIAGNOSTICS moved = ROW_COUNT;
                COMMIT;
                EXIT WHEN moved = 0;
            END LOOP;
        END $$
    """)  # noqa: S608 - names of our own tables
