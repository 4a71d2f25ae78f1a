"""Save by how much a request raises the monthly cost, so that what a person asks for within a day counts together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None

INDEX = "ix_requests_let_through"


def upgrade() -> None:
    op.add_column("requests", sa.Column("raise_cents", sa.Integer(), nullable=True), if_not_exists=True)
    with op.get_context().autocommit_block():
        # An interrupted run leaves an invalid index.
        op.drop_index(INDEX, table_name="requests", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            INDEX,
            "requests",
            ["requested_by", "created_at"],
            postgresql_concurrently=True,
            postgresql_where=sa.text("approval_until IS NULL AND raise_cents > 0"),
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index(INDEX, table_name="requests", if_exists=True)
    op.drop_column("requests", "raise_cents", if_exists=True)
