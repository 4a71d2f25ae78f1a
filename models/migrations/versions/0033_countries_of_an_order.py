"""Save with an order which countries the ordered trunk may call, because an order through the API can choose them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("countries", postgresql.ARRAY(sa.Text()), nullable=True), if_not_exists=True)


def downgrade() -> None:
    op.drop_column("requests", "countries", if_exists=True)
