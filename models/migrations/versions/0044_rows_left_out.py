"""Save which rows of a bulk file a person leaves out, or wants to order although their location exists already.

The column `bulk_rows.about` has the customer number or line number that the reason of a refused row names.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

RULES = {
    "choice": "choice IN ('leave_out', 'order')",
    "only_right_ones": "fate IS NULL OR draft IS NOT NULL OR (choice = 'leave_out' AND fate = 'refused')",
}


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column("bulk_rows", sa.Column("about", sa.Text(), nullable=True), if_not_exists=True)
        op.add_column("bulk_rows", sa.Column("choice", sa.String(32), nullable=True), if_not_exists=True)
        for name, rule in RULES.items():
            full = op.f(f"ck_bulk_rows_{name}")
            op.execute(
                # The same statement puts the new one there.
                "-- squawk-ignore ban-drop-constraint\n"
                f"ALTER TABLE bulk_rows DROP CONSTRAINT IF EXISTS {full},"
                f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
            )
            op.execute(f"ALTER TABLE bulk_rows VALIDATE CONSTRAINT {full}")


def downgrade() -> None:
    # Rows that were left out with mistakes have no place in the schema of before.
    op.execute("DELETE FROM bulk_rows WHERE fate IS NOT NULL AND draft IS NULL")
    op.drop_constraint(op.f("ck_bulk_rows_only_right_ones"), "bulk_rows", if_exists=True)
    op.create_check_constraint(op.f("ck_bulk_rows_only_right_ones"), "bulk_rows", "fate IS NULL OR draft IS NOT NULL")
    op.drop_constraint(op.f("ck_bulk_rows_choice"), "bulk_rows", if_exists=True)
    for name in ("choice", "about"):
        op.drop_column("bulk_rows", name, if_exists=True)
