"""Index due requests by kind of work, and create the table of outages.

So workers for one kind of work find their requests fast, and no worker calls a system that does not answer.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_INDEXES = {"due_at": "due_at IS NOT NULL", "due_alone": "due_at IS NOT NULL AND bulk_id IS NULL"}


def upgrade() -> None:
    op.create_table(
        "outages",
        sa.Column("system", sa.String(32), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("try_again_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("system", name=op.f("pk_outages")),
        sa.CheckConstraint("system IN ('registrar', 'mail', 'letter')", name=op.f("ck_outages_system")),
        if_not_exists=True,
    )
    for index, where in _INDEXES.items():
        _put(
            f"ix_requests_kind_{index}",
            [sa.text("(step = 'provision')"), "due_at"],
            where,
            include=index == "due_alone",
        )
        _drop(f"ix_requests_{index}")


def downgrade() -> None:
    for index, where in _INDEXES.items():
        _put(f"ix_requests_{index}", ["due_at"], where)
        _drop(f"ix_requests_kind_{index}")
    op.drop_table("outages")


def _put(name: str, columns: list[sa.TextClause | str], where: str, *, include: bool = False) -> None:
    """Create the index `name` on these columns of requests, for rows that fulfil the SQL condition `where`.

    Does not block writers, and replaces an invalid index that an interrupted run may have left. With `include` the
    index also stores `main_id`.
    """
    _drop(name)
    with op.get_context().autocommit_block():
        op.create_index(
            name,
            "requests",
            columns,
            postgresql_where=sa.text(where),
            postgresql_include=["main_id"] if include else [],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def _drop(name: str) -> None:
    with op.get_context().autocommit_block():
        op.drop_index(name, table_name="requests", postgresql_concurrently=True, if_exists=True)
