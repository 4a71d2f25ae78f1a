"""Add a random value (`salt`) to the rows of proofs by code and of invitations.

Codes and links are derived from it, too, so that the secret key alone reveals none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0034"
branch_labels = None
depends_on = None

TABLES = ("email_proofs", "address_proofs", "consents", "invitations")


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table in TABLES:
            # Rows that exist keep none: their codes are in the mail already.
            op.add_column(table, sa.Column("salt", sa.Text(), nullable=True), if_not_exists=True)


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "salt", if_exists=True)
