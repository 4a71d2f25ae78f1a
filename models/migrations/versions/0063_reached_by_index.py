"""Let row-level security find the accounts that a caller has access to by indexes.

So no page reads the accounts of all companies.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

# The same accounts as in 0037, some of them twice. No index serves an OR with a subquery, but each part has one.
REACHED = """
SELECT id, customer_number FROM accounts WHERE id = ANY ((SELECT caller_accounts())::bigint[])
UNION ALL SELECT id, customer_number FROM accounts WHERE main_id = ANY ((SELECT caller_leads())::bigint[])
-- Ordered and not active yet, or no longer.
UNION ALL SELECT accounts.id, accounts.customer_number FROM requests JOIN accounts ON accounts.id = requests.account_id
WHERE requests.kind = 'order' AND requests.main_id = ANY ((SELECT caller_leads())::bigint[])
    AND accounts.state <> 'active'"""
INDEXES = {
    "ix_accounts_not_active": ("accounts", ["id"], "state <> 'active'"),
    "ix_requests_orders": ("requests", ["main_id", "account_id"], "kind = 'order'"),
    "ix_requests_costs_from": ("requests", ["main_id", "account_id"], "costs_from IS NOT NULL"),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, (table, columns, where) in INDEXES.items():
            # An interrupted run leaves an invalid index.
            op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                table,
                columns,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        op.execute(f"CREATE OR REPLACE VIEW reached_accounts AS {REACHED}")


def downgrade() -> None:
    before = import_module("models.migrations.versions.0037_callers").VIEWS["reached_accounts"]
    op.execute(f"CREATE OR REPLACE VIEW reached_accounts AS {before}")
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table_name=table, if_exists=True)
