"""Questions to a present main account that reach nobody, for the back office; what staff have done to a request."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

SWITCHES = import_module("models.migrations.versions.0055_switches")
INVITED = """
    ) OR EXISTS (
        -- Who accepts an invitation to lead the main account that is asked will be asked, too.
        SELECT FROM main_consents AS asked JOIN invitations AS opened ON opened.account_id = asked.main_id
        WHERE asked.request_id = knows_switch.id AND opened.role IN ('administrator', 'location_manager')
            AND opened.id = ANY (named_in_transaction('invitation')::bigint[])
    );
END"""
KNOWS_SWITCH = SWITCHES.KNOWS_SWITCH.replace("\n    );\nEND", INVITED)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column(
            "main_consents", sa.Column("unreached_since", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
        )
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


def downgrade() -> None:
    _know_switch(SWITCHES.KNOWS_SWITCH)
    op.drop_index("ix_audit_entries_request", "audit_entries", if_exists=True)
    op.drop_index("ix_main_consents_unreached", table_name="main_consents", if_exists=True)
    op.drop_column("main_consents", "unreached_since", if_exists=True)


def _know_switch(body: str) -> None:
    head = "knows_switch(id uuid, customer_number text) RETURNS boolean"
    op.execute(f"CREATE OR REPLACE FUNCTION {head} {SWITCHES.DEFINER} STABLE {SWITCHES.COST} AS $body${body} $body$")
