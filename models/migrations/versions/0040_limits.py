"""Create two tables against abuse: each company's own limits, and how much of each limit it has used on a day.

Also add columns for the limit that a bulk waits for, and for when the back office got a mail about a waiting bulk, or
why it got one about a waiting request.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

RULES = {
    "waits_for": "waits_for IN ('open_orders', 'blocks', 'letters', 'contacts')",
}


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.create_table(
            "own_limits",
            sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("open_orders", sa.Integer(), nullable=True),
            sa.Column("blocks", sa.Integer(), nullable=True),
            sa.Column("letters", sa.Integer(), nullable=True),
            sa.Column("contacts", sa.Integer(), nullable=True),
            sa.CheckConstraint(
                "open_orders > 0 AND blocks > 0 AND letters > 0 AND contacts > 0", name=op.f("ck_own_limits_above_zero")
            ),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_own_limits_account_id")),
            sa.PrimaryKeyConstraint("account_id", name=op.f("pk_own_limits")),
            if_not_exists=True,
        )
        op.create_table(
            "daily_uses",
            sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("day", sa.Date(), nullable=False),
            sa.Column(
                "what",
                sa.Enum(
                    "open_orders",
                    "blocks",
                    "letters",
                    "contacts",
                    name="what",
                    native_enum=False,
                    create_constraint=True,
                    length=32,
                ),
                nullable=False,
            ),
            sa.Column("used", sa.Integer(), nullable=False),
            sa.CheckConstraint("used > 0", name=op.f("ck_daily_uses_used_above_zero")),
            sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_daily_uses_account_id")),
            sa.PrimaryKeyConstraint("account_id", "day", "what", name=op.f("pk_daily_uses")),
            if_not_exists=True,
        )
        op.create_index("ix_daily_uses_day", "daily_uses", ["day"], postgresql_concurrently=True, if_not_exists=True)
        op.add_column("requests", sa.Column("office_told", sa.Text(), nullable=True), if_not_exists=True)
        op.add_column("bulks", sa.Column("waits_for", sa.String(32), nullable=True), if_not_exists=True)
        told = sa.Column("office_told_at", sa.TIMESTAMP(timezone=True), nullable=True)
        op.add_column("bulks", told, if_not_exists=True)
        for name, rule in RULES.items():
            full = op.f(f"ck_bulks_{name}")
            op.execute(
                # The same statement puts the new one there.
                "-- squawk-ignore ban-drop-constraint\n"
                f"ALTER TABLE bulks DROP CONSTRAINT IF EXISTS {full},"
                f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
            )
            op.execute(f"ALTER TABLE bulks VALIDATE CONSTRAINT {full}")
        # An interrupted run leaves an invalid index.
        op.drop_index("ix_bulks_waiting", table_name="bulks", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_bulks_waiting",
            "bulks",
            ["id"],
            postgresql_where=sa.text("waits_for IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_bulks_waiting", table_name="bulks", if_exists=True)
    for name in RULES:
        op.drop_constraint(op.f(f"ck_bulks_{name}"), "bulks", if_exists=True)
    for table, name in (("bulks", "office_told_at"), ("bulks", "waits_for"), ("requests", "office_told")):
        op.drop_column(table, name, if_exists=True)
    op.drop_table("daily_uses", if_exists=True)
    op.drop_table("own_limits", if_exists=True)
