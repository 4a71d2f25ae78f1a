"""Add indexes for the overview of sub-accounts: one for each sort order, and one for requests that have not ended.

An index is built under a lock that lets readers go on and makes writers wait until the transaction ends: about a
second for a million rows each. CONCURRENTLY cannot run in a transaction, as this migration does.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PLAIN = "translate(lower({} COLLATE pg_c_utf8), 'äöüßáàâãåéèêëíìîïóòôõúùûñç', 'aousaaaaaeeeeiiiioooouuunc')"
_ORDERS: dict[str, str | sa.TextClause] = {
    "attached_at": "attached_at",
    "customer_number": "customer_number",
    "name": sa.text(_PLAIN.format("name")),
    "city": sa.text(_PLAIN.format("city")),
}


def upgrade() -> None:
    for name, key in _ORDERS.items():
        op.create_index(
            f"ix_accounts_main_id_{name}",
            "accounts",
            ["main_id", key, "id"],
            postgresql_where=sa.text("main_id IS NOT NULL"),
        )
    op.create_index(
        "ix_requests_running",
        "requests",
        ["main_id", "account_id", "id"],
        postgresql_where=sa.text("status NOT IN ('cancelled', 'completed', 'failed', 'rejected')"),
    )


def downgrade() -> None:
    op.drop_index("ix_requests_running", table_name="requests")
    for name in _ORDERS:
        op.drop_index(f"ix_accounts_main_id_{name}", table_name="accounts")
