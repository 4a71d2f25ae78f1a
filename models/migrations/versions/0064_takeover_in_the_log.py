"""Allow audit entries about trunks that are taken over or adopted, and about users whom the carrier added.

A trunk that is taken over from another system is only recorded in the portal. Once it is adopted, the portal writes it
to the registrar.
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

AUDIT = import_module("models.migrations.versions.0053_second_wall")
NEW = ("trunk_taken_over", "trunk_adopted", "user_entered")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], added=NEW)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({AUDIT._quoted(NEW)})")  # noqa: S608
    AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], removed=NEW)
