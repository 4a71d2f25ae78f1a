"""Save that staff let the next run of the registrar's job delete entries of the registrar (`jobs.allow_removals`).

Without this permission a run deletes none if the portal itself seems to have lost data.
"""

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
