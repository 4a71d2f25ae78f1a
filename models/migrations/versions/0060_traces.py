"""Save the trace context of requests, messages and bulks, and shorten the views from which metrics count rows.

The views leave out requests that were completed, rejected or cancelled, and messages that were sent.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

TABLES = ("requests", "messages", "bulks")
VIEWS = {
    # What has ended well is almost everything, and grows: counting it would read the whole table. Both parts have an
    # index with this condition.
    "queue_of_requests": """
SELECT status, step, due_at FROM requests WHERE status NOT IN ('cancelled', 'completed', 'failed', 'rejected')
UNION ALL SELECT status, step, due_at FROM requests WHERE status = 'failed'""",
    "queue_of_messages": """
SELECT state FROM messages WHERE due_at IS NOT NULL
UNION ALL SELECT state FROM messages WHERE refused_at IS NOT NULL""",
}
BEFORE = {
    "queue_of_requests": "SELECT status, step, due_at FROM requests",
    "queue_of_messages": "SELECT state FROM messages",
}


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.add_column(table, sa.Column("traceparent", sa.Text(), nullable=True), if_not_exists=True)
        for name, query in VIEWS.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    for name, query in BEFORE.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    for table in TABLES:
        op.drop_column(table, "traceparent", if_exists=True)
