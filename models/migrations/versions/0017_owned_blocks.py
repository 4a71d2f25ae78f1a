"""Restrict the index of number blocks by account to blocks that an account has; free blocks are left out.

So PostgreSQL's planner searches free blocks by their own index, even while its statistics are old.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _put("ix_number_blocks_owned", "account_id IS NOT NULL")
    _drop("ix_number_blocks_account_id")


def downgrade() -> None:
    _put("ix_number_blocks_account_id", None)
    _drop("ix_number_blocks_owned")


def _put(name: str, where: str | None) -> None:
    """Create an index of number blocks by account, for blocks that fulfil the SQL condition `where` (None: for all).

    Does not block writers. Replaces an invalid index that an interrupted run may have left.
    """
    _drop(name)
    with op.get_context().autocommit_block():
        op.create_index(
            name,
            "number_blocks",
            ["account_id"],
            postgresql_where=None if where is None else sa.text(where),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def _drop(name: str) -> None:
    with op.get_context().autocommit_block():
        op.drop_index(name, table_name="number_blocks", postgresql_concurrently=True, if_exists=True)
