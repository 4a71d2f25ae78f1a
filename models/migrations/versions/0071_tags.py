"""Save the tags by which a company sorts its sub-accounts."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None

AUDIT = import_module("models.migrations.versions.0053_second_wall")
NEW = ("tags_set",)
RULE = "CHECK (cardinality(tags) BETWEEN 1 AND 10)"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.add_column("accounts", sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=True), if_not_exists=True)
        op.execute(
            # The same statement puts the new one there.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE accounts DROP CONSTRAINT IF EXISTS ck_accounts_tags, ADD CONSTRAINT ck_accounts_tags {RULE}"
            " NOT VALID"
        )
        op.execute("ALTER TABLE accounts VALIDATE CONSTRAINT ck_accounts_tags")
        AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], added=NEW)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({AUDIT._quoted(NEW)})")  # noqa: S608
    AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], removed=NEW)
    op.drop_constraint("ck_accounts_tags", "accounts", if_exists=True)
    op.drop_column("accounts", "tags", if_exists=True)
