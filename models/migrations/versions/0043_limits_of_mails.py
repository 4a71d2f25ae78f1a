"""Limits on the invitations and the questions for consent that a company may send on a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0041"
branch_labels = None
depends_on = None

OLD = "'open_orders', 'blocks', 'letters', 'contacts'"
NEW = f"{OLD}, 'invitations', 'consents'"
COLUMNS = ("invitations", "consents")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for column in COLUMNS:
            op.add_column("own_limits", sa.Column(column, sa.Integer(), nullable=True), if_not_exists=True)
        _check("own_limits", "mails_above_zero", "invitations > 0 AND consents > 0")
        _check("daily_uses", "what", f"what IN ({NEW})")
        _check("bulks", "waits_for", f"waits_for IN ({NEW})")


def downgrade() -> None:
    op.execute("DELETE FROM daily_uses WHERE what IN ('invitations', 'consents')")
    op.execute("UPDATE bulks SET waits_for = NULL WHERE waits_for IN ('invitations', 'consents')")
    _check("bulks", "waits_for", f"waits_for IN ({OLD})")
    _check("daily_uses", "what", f"what IN ({OLD})")
    op.drop_constraint(op.f("ck_own_limits_mails_above_zero"), "own_limits", if_exists=True)
    for column in reversed(COLUMNS):
        op.drop_column("own_limits", column, if_exists=True)


def _check(table: str, name: str, rule: str) -> None:
    full = op.f(f"ck_{table}_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {full},"
        f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")
