"""Add `jobs.paused`: after a restore a scheduled job waits until an operator has looked and resumes it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("paused", sa.Boolean(), server_default=sa.false(), nullable=False), if_not_exists=True
    )


def downgrade() -> None:
    op.drop_column("jobs", "paused", if_exists=True)
