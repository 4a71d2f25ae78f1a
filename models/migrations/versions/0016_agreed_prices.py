"""Save agreed prices with an order, and an offer's prices and last day with a draft: later prices do not apply."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("price_lines", postgresql.JSONB(), nullable=True), if_not_exists=True)
    op.add_column("order_drafts", sa.Column("offered_lines", postgresql.JSONB(), nullable=True), if_not_exists=True)
    op.add_column(
        "order_drafts", sa.Column("offered_until", sa.DateTime(timezone=True), nullable=True), if_not_exists=True
    )


def downgrade() -> None:
    op.drop_column("order_drafts", "offered_until", if_exists=True)
    op.drop_column("order_drafts", "offered_lines", if_exists=True)
    op.drop_column("requests", "price_lines", if_exists=True)
