"""Save since when the mails that ask a main account to consent to a switch have reached nobody; index staff actions.

Also let a main account see the past costs of closed sub-accounts that had left it by a switch.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

NUMBERS = import_module("models.migrations.versions.0054_more_numbers")
AUDIT = import_module("models.migrations.versions.0053_second_wall")
SWITCHES = import_module("models.migrations.versions.0055_switches")
INVITED = """
    ) OR EXISTS (
        -- Who accepts an invitation to lead the main account that is asked will be asked, too.
        SELECT FROM main_consents AS asked JOIN invitations AS opened ON opened.account_id = asked.main_id
        WHERE asked.request_id = knows_switch.id AND opened.role IN ('administrator', 'location_manager')
            AND opened.id = ANY (named_in_transaction('invitation')::bigint[])
    );
END"""
STABLE = {
    # As in 0054, and former sub-accounts that have left by a switch, once they are closed.
    "caller_closed() RETURNS SETOF bigint": """
BEGIN
    RETURN QUERY SELECT account_id FROM requests
        WHERE costs_from IS NOT NULL AND main_id = ANY ((SELECT caller_leads())::bigint[])
        UNION SELECT moved.account_id FROM main_consents AS asked JOIN requests AS moved ON moved.id = asked.request_id
            JOIN accounts ON accounts.id = moved.account_id
        WHERE asked.costs_from IS NOT NULL AND asked.main_id = ANY ((SELECT caller_leads())::bigint[])
            AND accounts.state = 'closed';
END""",
    # As in 0054, and such an account.
    "knows_account(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = knows_account.id)
        OR EXISTS (SELECT FROM joining_accounts AS joining WHERE joining.id = knows_account.id)
        OR knows_account.id = ANY (caller_knows())
        OR EXISTS (
            SELECT FROM requests WHERE requests.account_id = knows_account.id AND costs_from IS NOT NULL
                AND main_id = ANY (caller_leads())
        )
        OR EXISTS (
            SELECT FROM main_consents AS asked JOIN requests AS moved ON moved.id = asked.request_id
                JOIN accounts ON accounts.id = moved.account_id
            WHERE moved.account_id = knows_account.id AND asked.costs_from IS NOT NULL
                AND asked.main_id = ANY (caller_leads()) AND accounts.state = 'closed'
        );
END""",
}
KNOWS_SWITCH = SWITCHES.KNOWS_SWITCH.replace("\n    );\nEND", INVITED)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column(
            "main_consents", sa.Column("unreached_since", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
        )
        op.add_column("main_consents", sa.Column("costs_from", sa.Date(), nullable=True), if_not_exists=True)
        # An interrupted run leaves an invalid index.
        op.drop_index(
            "ix_main_consents_unreached", table_name="main_consents", postgresql_concurrently=True, if_exists=True
        )
        op.create_index(
            "ix_main_consents_unreached",
            "main_consents",
            ["request_id"],
            postgresql_where=sa.text("unreached_since IS NOT NULL AND decision IS NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index(
            "ix_audit_entries_request", table_name="audit_entries", postgresql_concurrently=True, if_exists=True
        )
        op.create_index(
            "ix_audit_entries_request",
            "audit_entries",
            [sa.text("(facts ->> 'request'::text)")],
            postgresql_where=sa.text("by_staff"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
    _know_switch(KNOWS_SWITCH)
    for head, body in STABLE.items():
        op.execute(AUDIT._function(head, body))


def downgrade() -> None:
    for head in STABLE:
        op.execute(AUDIT._function(head, NUMBERS.STABLE[head]))
    _know_switch(SWITCHES.KNOWS_SWITCH)
    op.drop_index("ix_audit_entries_request", "audit_entries", if_exists=True)
    op.drop_index("ix_main_consents_unreached", table_name="main_consents", if_exists=True)
    for column in ("costs_from", "unreached_since"):
        op.drop_column("main_consents", column, if_exists=True)


def _know_switch(body: str) -> None:
    head = "knows_switch(id uuid, customer_number text) RETURNS boolean"
    op.execute(f"CREATE OR REPLACE FUNCTION {head} {SWITCHES.DEFINER} STABLE {SWITCHES.COST} AS $body${body} $body$")
