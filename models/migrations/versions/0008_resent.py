"""Count in each proof how many further codes a person has requested (`resent`), to limit them.

The count begins anew when a new order needs the proof, unlike that of all codes (`issue`).
"""

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
