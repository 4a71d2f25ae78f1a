"""Let a detach request wait until a given day, and save whether the sub-account or the main account made it.

Also create the table of offers to pay for a sub-account by a collective invoice.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

BEFORE = {"only_changes_have_a_day": "effective_on IS NULL OR kind IN ('change', 'cancel')"}
AFTER = {
    "kinds_with_a_day": "effective_on IS NULL OR kind NOT IN ('order', 'link')",
    "sub_account_detaches": "NOT by_sub_account OR kind = 'detach'",
}


def upgrade() -> None:
    # Each statement commits on its own: the checks are validated without a lock that stops customers.
    with op.get_context().autocommit_block():
        op.add_column(
            "requests",
            sa.Column("by_sub_account", sa.Boolean(), server_default=sa.false(), nullable=False),
            if_not_exists=True,
        )
        _replace(BEFORE, AFTER)
        op.add_column(
            "collective_invoice_items",
            sa.Column("stays_linked", sa.Boolean(), server_default=sa.false(), nullable=False),
            if_not_exists=True,
        )
        op.create_table(
            "invoice_offers",
            sa.Column("account_id", sa.BigInteger(), nullable=False),
            sa.Column("main_id", sa.BigInteger(), nullable=False),
            sa.Column("offered_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.CheckConstraint("account_id <> main_id", name=op.f("ck_invoice_offers_two_accounts")),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_invoice_offers_account_id")),
            sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_invoice_offers_main_id")),
            sa.PrimaryKeyConstraint("account_id", name=op.f("pk_invoice_offers")),
            if_not_exists=True,
        )
        op.create_index(
            op.f("ix_invoice_offers_main_id"),
            "invoice_offers",
            ["main_id"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_table("invoice_offers", if_exists=True)
    op.drop_column("collective_invoice_items", "stays_linked", if_exists=True)
    # The version before would detach at once: what waits for its day is cancelled.
    op.execute(
        "UPDATE requests SET status = 'cancelled', reason = 'cancelled_by_back_office', ended_at = now(),"
        " due_at = NULL, lease = NULL, waiting_for = NULL, waiting_until = NULL"
        " WHERE kind = 'detach' AND effective_on IS NOT NULL AND ended_at IS NULL"
    )
    op.execute("UPDATE requests SET effective_on = NULL WHERE kind = 'detach'")
    # The version before has no words for these.
    op.execute(
        "UPDATE timeline_entries SET code = 'detach_received', facts = facts - 'day' WHERE code = 'detach_scheduled'"
    )
    op.execute("DELETE FROM timeline_entries WHERE code IN ('detach_moved', 'detach_brought_forward')")
    op.execute(
        "DELETE FROM messages WHERE template IN ('detach_planned', 'detach_taken_back', 'invoice_offered',"
        " 'invoice_declined', 'invoice_joined', 'invoice_left')"
    )
    _replace(AFTER, BEFORE)
    op.drop_column("requests", "by_sub_account", if_exists=True)


def _replace(old: dict[str, str], new: dict[str, str]) -> None:
    for name, rule in new.items():
        full = op.f(f"ck_requests_{name}")
        op.execute(
            # The same statement puts the new one there.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {full}, ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
        )
        op.execute(f"ALTER TABLE requests VALIDATE CONSTRAINT {full}")
    for name in old:
        op.execute(
            # The new ones say the same and more.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {op.f(f'ck_requests_{name}')}"
        )
