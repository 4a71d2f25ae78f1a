"""Allow audit entries that say which requests staff looked at and what their searches found."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

AUDIT = import_module("models.migrations.versions.0053_second_wall")
NEW = ("request_seen", "found_in_search")
CHECKS = {"deed": AUDIT.CHECKS["deed"][0], "staff_deeds": "by_staff OR NOT (deed IN (%s))"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, rule in CHECKS.items():
            AUDIT._recheck(name, rule, added=NEW)
        # An interrupted run leaves an invalid index.
        _drop_index()
        op.create_index(
            "uq_audit_entries_seen",
            "audit_entries",
            [
                "account_id",
                "user_id",
                "deed",
                sa.text("COALESCE(facts ->> 'request'::text, ''::text)"),
                sa.text("date_trunc('hour'::text, (at AT TIME ZONE 'UTC'::text))"),
            ],
            unique=True,
            postgresql_where=sa.text("deed IN ('request_seen', 'found_in_search')"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _drop_index()
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({AUDIT._quoted(NEW)})")  # noqa: S608
    for name, rule in reversed(CHECKS.items()):
        AUDIT._recheck(name, rule, removed=NEW)


def _drop_index() -> None:
    op.drop_index("uq_audit_entries_seen", table_name="audit_entries", postgresql_concurrently=True, if_exists=True)
