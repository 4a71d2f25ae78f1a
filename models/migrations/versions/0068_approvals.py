"""Save from which monthly sum a company's requests wait for a second person's approval, and who has approved them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None

SWITCHES = import_module("models.migrations.versions.0055_switches")
AUDIT = import_module("models.migrations.versions.0053_second_wall")
REASONS = ("approval_awaited", "approver_missing", "approval_refused", "approval_expired")
DEEDS = ("approval_limit_set", "approval_given", "approval_refused")
COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("accounts", "approval_from_cents", sa.Integer()),
    ("requests", "approval_until", sa.TIMESTAMP(timezone=True)),
    ("requests", "approved", sa.Boolean()),
    ("requests", "approval_by", sa.BigInteger()),
    ("requests", "approval_at", sa.TIMESTAMP(timezone=True)),
    ("requests", "approval_note", sa.Text()),
)
RULES = (
    ("accounts", "ck_accounts_approval_from", "CHECK (approval_from_cents > 0)"),
    ("requests", "ck_requests_four_eyes", "CHECK (approval_by <> requested_by)"),
    (
        "requests",
        "ck_requests_approval_is_whole",
        "CHECK ((approved IS NULL) = (approval_by IS NULL) AND (approved IS NULL) = (approval_at IS NULL)"
        " AND (approved IS NULL OR approval_until IS NOT NULL))",
    ),
    ("requests", "fk_requests_approval_by", "FOREIGN KEY (approval_by) REFERENCES users (id)"),
)

_ASKED = "OR EXISTS (SELECT FROM requests JOIN reached_requests USING (id) WHERE requests.requested_by = knows_user.id)"
# Who has approved a request is seen by those who see the request, as is the person who made it.
KNOWS_USER = (
    "knows_user(bigint)",
    _ASKED,
    f"OR EXISTS (SELECT FROM requests JOIN reached_requests USING (id) WHERE requests.approval_by = knows_user.id) {_ASKED}",
)
INDEXES: tuple[tuple[str, list[str], str], ...] = (
    (
        "ix_requests_to_approve",
        ["main_id", "account_id"],
        "status = 'pending' AND approval_until IS NOT NULL AND approved IS NULL",
    ),
    ("ix_requests_approval_by", ["approval_by"], "approval_by IS NOT NULL"),
)


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table, column, type in COLUMNS:
            op.add_column(table, sa.Column(column, type, nullable=True), if_not_exists=True)
        for table, name, rule in RULES:
            op.execute(
                # The same statement puts the new one there.
                "-- squawk-ignore ban-drop-constraint\n"
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {rule} NOT VALID"
            )
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
        SWITCHES._recheck("requests", "reason", added=REASONS)
        _recheck_actors(added="'approver'")
        AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], added=DEEDS)
        for name, columns, where in INDEXES:
            # An interrupted run leaves an invalid index.
            op.drop_index(name, table_name="requests", postgresql_concurrently=True, if_exists=True)
            op.create_index(
                name,
                "requests",
                columns,
                postgresql_concurrently=True,
                postgresql_where=sa.text(where),
                if_not_exists=True,
            )
        # After its index, which it needs for each row of people.
        SWITCHES._patch(*KNOWS_USER)


def downgrade() -> None:
    name, old, new = KNOWS_USER
    SWITCHES._patch(name, new, old)
    # They name a column that goes; the next `standorte migrate` makes them again.
    op.execute("DROP POLICY IF EXISTS front_adds ON requests")
    op.execute("DROP POLICY IF EXISTS front_changes ON requests")
    for name, _columns, _where in INDEXES:
        op.drop_index(name, table_name="requests", if_exists=True)
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    # The version before would carry the requests out without an approval, and has no words for it.
    op.execute(
        "UPDATE requests SET status = 'cancelled', reason = 'cancelled_by_back_office', ended_at = now(),"  # noqa: S608
        " waiting_for = NULL, waiting_until = NULL, due_at = NULL, lease = NULL"
        f" WHERE reason IN ({reasons}) AND ended_at IS NULL"
    )
    op.execute(
        "UPDATE requests SET reason = 'cancelled_by_back_office'"  # noqa: S608
        f" WHERE reason IN ({reasons})"
    )
    op.execute(
        "DELETE FROM timeline_entries WHERE code IN ('approval_given', 'approval_refused')"  # noqa: S608
        f" OR (code IN ('pending', 'rejected') AND facts ->> 'reason' IN ({reasons}))"
    )
    op.execute("DELETE FROM messages WHERE template IN ('approval_asked', 'approval_asked_file', 'approval_given')")
    op.execute(
        "DELETE FROM audit_entries"  # noqa: S608
        f" WHERE deed IN ({', '.join(repr(deed) for deed in DEEDS)})"
    )
    AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], removed=DEEDS)
    _recheck_actors(removed="'approver'")
    SWITCHES._recheck("requests", "reason", removed=REASONS)
    for table, name, _rule in reversed(RULES):
        op.drop_constraint(name, table, if_exists=True)
    for table, column, _type in reversed(COLUMNS):
        op.drop_column(table, column, if_exists=True)


def _recheck_actors(*, added: str = "", removed: str = "") -> None:
    name = "ck_requests_waiting_for"
    words = {"table": "requests", "name": name, "column": "waiting_for"}
    op.execute(SWITCHES.RECHECK.format(**words, added=added, removed=removed))
    # To validate again what is valid does no harm.
    op.execute(f"-- squawk-ignore prefer-robust-stmts\nALTER TABLE requests VALIDATE CONSTRAINT {name}")
