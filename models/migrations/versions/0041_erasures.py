"""Create the table of erasures: whose personal data is to be erased, when that was requested, and when it was done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_table(
            "erasures",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("done_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_erasures_user_id")),
            sa.PrimaryKeyConstraint("user_id", name=op.f("pk_erasures")),
            if_not_exists=True,
        )
        op.create_index(
            "ix_erasures_open",
            "erasures",
            ["user_id"],
            postgresql_where=sa.text("done_at IS NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_table("erasures", if_exists=True)
