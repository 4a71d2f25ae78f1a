"""Save the prices at which a bulk (a file of orders) was sent, so that later prices do not apply to its rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bulks", sa.Column("price_lines", postgresql.JSONB(), nullable=True), if_not_exists=True)


def downgrade() -> None:
    op.drop_column("bulks", "price_lines", if_exists=True)
