"""How often a code was sent anew is counted from the last fresh question."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = ("email_proofs", "address_proofs", "consents")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("resent", sa.Integer(), nullable=False, server_default="0"))
        op.alter_column(table, "resent", server_default=None)


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "resent")
