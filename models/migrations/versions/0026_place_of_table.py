"""Save where in a bulk's file the table was found: the line of its headings and the sheet, to show it to people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bulks", sa.Column("place", postgresql.JSONB(), nullable=True), if_not_exists=True)


def downgrade() -> None:
    op.drop_column("bulks", "place", if_exists=True)
