"""The trace to which requests, messages and bulks belong, while traces are on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

TABLES = ("requests", "messages", "bulks")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.add_column(table, sa.Column("traceparent", sa.Text(), nullable=True), if_not_exists=True)


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "traceparent", if_exists=True)
