"""Staff allow the registrar's reconciliation to remove what looks like a mistake of ours, for one run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column("allow_removals", sa.Boolean(), nullable=False, server_default=sa.false()),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_column("jobs", "allow_removals", if_exists=True)
