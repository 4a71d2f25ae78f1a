"""Allow requests that cancel an account with its contracts, and save the terms of contracts in months."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

ENDED = "'cancelled', 'completed', 'failed', 'rejected'"
KINDS = ("order", "link", "detach", "change")
STEPS = ("verify", "provision", "attach", "detach", "change", "confirm")
NEW_STEPS = ("verify", "provision", "attach", "detach", "change", "cancel", "confirm")
DAYS_OF_CHANGES = "effective_on IS NULL OR kind = 'change'"
DAYS = "effective_on IS NULL OR kind IN ('change', 'cancel')"
WHOLE = "kind <> 'cancel' OR (effective_on IS NOT NULL AND replaced_lines IS NOT NULL)"
# By column: what holds for the rows that are there, and the greatest value.
MONTHS = {"term_months": (0, 24), "notice_months": (1, 1), "renewal_months": (0, 24)}
WITH_TERMS = ("products", "product_prices", "contracts")
OF_BOTH = "kind IN ('detach', 'change') AND"
OF_THREE = "kind IN ('detach', 'change', 'cancel') AND"


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table in WITH_TERMS:
            for column, (usual, most) in MONTHS.items():
                op.add_column(
                    table,
                    sa.Column(column, sa.Integer(), server_default=str(usual), nullable=False),
                    if_not_exists=True,
                )
                _check(table, column, f"{column} BETWEEN 0 AND {most}")
        op.add_column("requests", sa.Column("contract_terms", postgresql.JSONB(), nullable=True), if_not_exists=True)
        for table in ("requests", "bulks"):
            _check(table, "kind", f"kind IN ({_words(*KINDS, 'cancel')})")
        _check("requests", "step", f"step IN ({_words(*NEW_STEPS)})")
        _check("requests", "reason", f"reason IN ({_words(*_reasons(), 'account_in_use')})")
        _check("requests", "only_changes_have_a_day", DAYS)
        _check("requests", "cancellation_is_whole", WHOLE)
        # An interrupted run leaves an invalid index.
        op.drop_index("uq_requests_cancellations", "requests", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "uq_requests_cancellations",
            "requests",
            ["account_id"],
            unique=True,
            postgresql_where=sa.text(f"kind = 'cancel' AND status NOT IN ({ENDED})"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        _check("audit_entries", "deed", f"deed IN ({_words(*_deeds('cancellation_asked'))})")
    _see_requests(OF_THREE)


def downgrade() -> None:
    _see_requests(OF_BOTH)
    op.execute("DELETE FROM audit_entries WHERE deed = 'cancellation_asked'")
    _check("audit_entries", "deed", f"deed IN ({_words(*_deeds())})")
    for table in ("timeline_entries", "messages", "idempotency_keys"):
        op.execute(f"DELETE FROM {table} WHERE request_id IN (SELECT id FROM requests WHERE kind = 'cancel')")  # noqa: S608
    op.execute("DELETE FROM requests WHERE kind = 'cancel'")
    op.drop_index("uq_requests_cancellations", "requests", if_exists=True)
    op.drop_constraint(op.f("ck_requests_cancellation_is_whole"), "requests", if_exists=True)
    _check("requests", "only_changes_have_a_day", DAYS_OF_CHANGES)
    _check("requests", "reason", f"reason IN ({_words(*_reasons())})")
    _check("requests", "step", f"step IN ({_words(*STEPS)})")
    for table in ("requests", "bulks"):
        _check(table, "kind", f"kind IN ({_words(*KINDS)})")
    op.drop_column("requests", "contract_terms", if_exists=True)
    for table in WITH_TERMS:
        for column in MONTHS:
            op.drop_constraint(op.f(f"ck_{table}_{column}"), table, if_exists=True)
            op.drop_column(table, column, if_exists=True)


def _see_requests(condition: str) -> None:
    """Let row-level security show the requests that match `condition` to the people of the requests' accounts.

    `condition` is SQL that ends with AND, such as "kind = 'detach' AND".
    """
    was = import_module("models.migrations.versions.0047_contract_changes")
    was._see_changes(condition)


def _reasons() -> tuple[str, ...]:
    was = import_module("models.migrations.versions.0047_contract_changes")
    return (*was._reasons(), "trunk_closed")


def _deeds(*new: str) -> list[str]:
    was = import_module("models.migrations.versions.0047_contract_changes")
    deeds: list[str] = was._deeds("change_asked")
    place = deeds.index("change_asked") + 1
    return [*deeds[:place], *new, *deeds[place:]]


def _check(table: str, name: str, rule: str) -> None:
    full = op.f(f"ck_{table}_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {full},"
        f" ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {full}")


def _words(*words: str) -> str:
    return ", ".join(f"'{word}'" for word in words)
