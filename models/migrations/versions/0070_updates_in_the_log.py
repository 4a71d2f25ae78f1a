"""Allow audit entries about accounts of which an import of customers has changed the name or the contact."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None

AUDIT = import_module("models.migrations.versions.0053_second_wall")
NEW = ("account_updated",)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], added=NEW)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({AUDIT._quoted(NEW)})")  # noqa: S608
    AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], removed=NEW)
