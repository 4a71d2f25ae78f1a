"""Allow requests that change a trunk's tariff and channels, at once or from a day on.

Items of a contract get the time of their beginning (`started_at`) and a number (`occurrence`). So a contract keeps its
former items when a product is replaced or added again.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

ENDED = "'cancelled', 'completed', 'failed', 'rejected'"
KINDS = ("order", "link", "detach")
STEPS = ("verify", "provision", "attach", "detach", "confirm")
NEW_STEPS = ("verify", "provision", "attach", "detach", "change", "confirm")
RULES = {
    "change_is_whole": (
        "(kind = 'change') = (changed_trunk_id IS NOT NULL AND replaced_channels IS NOT NULL"
        " AND replaced_lines IS NOT NULL)"
    ),
    "change_says_what": (
        "kind <> 'change' OR (product_key IS NOT NULL AND channels IS NOT NULL AND price_lines IS NOT NULL)"
    ),
    "only_changes_have_a_day": "effective_on IS NULL OR kind = 'change'",
}
COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "changed_trunk_id": sa.BigInteger(),
    "effective_on": sa.Date(),
    "replaced_channels": sa.Integer(),
    "replaced_lines": postgresql.JSONB(),
}
TRUNK = "fk_requests_changed_trunk_id"
KEY = "uq_contract_items_key"
DETACHES = "kind = 'detach' AND"
OF_BOTH = "kind IN ('detach', 'change') AND"


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for name, type in COLUMNS.items():
            op.add_column("requests", sa.Column(name, type, nullable=True), if_not_exists=True)
        _check("requests", "kind", f"kind IN ({_words(*KINDS, 'change')})")
        _check("bulks", "kind", f"kind IN ({_words(*KINDS, 'change')})")
        _check("requests", "step", f"step IN ({_words(*NEW_STEPS)})")
        _check("requests", "reason", f"reason IN ({_words(*_reasons(), 'trunk_closed')})")
        for name, rule in RULES.items():
            _check("requests", name, rule)
        op.execute(
            # The same statement puts the new one there.
            "-- squawk-ignore ban-drop-constraint\n"
            f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {TRUNK}, ADD CONSTRAINT {TRUNK}"
            " FOREIGN KEY (changed_trunk_id) REFERENCES sip_trunks (id) NOT VALID"
        )
        op.execute(f"ALTER TABLE requests VALIDATE CONSTRAINT {TRUNK}")
        # An interrupted run leaves an invalid index.
        op.drop_index("uq_requests_changes", "requests", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "uq_requests_changes",
            "requests",
            ["changed_trunk_id", "effective_on"],
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=sa.text(f"kind = 'change' AND status NOT IN ({ENDED})"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.add_column(
            "contract_items",
            sa.Column("occurrence", sa.Integer(), server_default="1", nullable=False),
            if_not_exists=True,
        )
        op.add_column(
            "contract_items", sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True
        )
        _check("contract_items", "ends_after_start", "ended_at >= started_at")
        _check("contract_items", "occurrence", "occurrence > 0")
        op.drop_index(KEY, "contract_items", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            KEY,
            "contract_items",
            ["contract_id", "product_key", "occurrence"],
            unique=True,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.execute(
            # The same statement puts the new one there, by an index that is ready.
            "-- squawk-ignore ban-drop-constraint\n"
            "ALTER TABLE contract_items DROP CONSTRAINT IF EXISTS pk_contract_items,"
            f" ADD CONSTRAINT pk_contract_items PRIMARY KEY USING INDEX {KEY}"
        )
        _check("audit_entries", "deed", f"deed IN ({_words(*_deeds('change_asked'))})")
    _see_changes(OF_BOTH)


def downgrade() -> None:
    _see_changes(DETACHES)
    changes = "(SELECT id FROM requests WHERE kind = 'change')"
    op.execute("DELETE FROM audit_entries WHERE deed = 'change_asked'")
    _check("audit_entries", "deed", f"deed IN ({_words(*_deeds())})")
    # The schema before has one line for each product: the newest.
    op.execute(
        "DELETE FROM contract_items AS old USING contract_items AS newer WHERE old.contract_id = newer.contract_id"
        " AND old.product_key = newer.product_key AND old.occurrence < newer.occurrence"
    )
    op.drop_constraint(op.f("pk_contract_items"), "contract_items", type_="primary")
    op.create_primary_key(op.f("pk_contract_items"), "contract_items", ["contract_id", "product_key"])
    for name in ("ends_after_start", "occurrence"):
        op.drop_constraint(op.f(f"ck_contract_items_{name}"), "contract_items", if_exists=True)
    for column in ("started_at", "occurrence"):
        op.drop_column("contract_items", column, if_exists=True)
    for table in ("timeline_entries", "messages", "idempotency_keys"):
        op.execute(f"DELETE FROM {table} WHERE request_id IN {changes}")  # noqa: S608
    op.execute("DELETE FROM requests WHERE kind = 'change'")
    op.drop_index("uq_requests_changes", "requests", if_exists=True)
    for name in RULES:
        op.drop_constraint(op.f(f"ck_requests_{name}"), "requests", if_exists=True)
    _check("requests", "reason", f"reason IN ({_words(*_reasons())})")
    _check("requests", "step", f"step IN ({_words(*STEPS)})")
    for table in ("requests", "bulks"):
        _check(table, "kind", f"kind IN ({_words(*KINDS)})")
    op.drop_constraint(op.f(TRUNK), "requests", if_exists=True)
    for column in reversed(COLUMNS):
        op.drop_column("requests", column, if_exists=True)


def _see_changes(condition: str) -> None:
    """Let row-level security show the requests that match `condition` to the people of the requests' accounts.

    `condition` is SQL that ends with AND, such as "kind = 'detach' AND".
    """
    first, second = (
        import_module(f"models.migrations.versions.{name}") for name in ("0037_callers", "0042_cheap_callers")
    )
    head = next(head for head in second.STABLE if head.startswith("knows_request("))
    body = second.STABLE[head].replace(DETACHES, condition)
    op.execute(f"CREATE OR REPLACE FUNCTION {head} {second.DEFINER} STABLE {second.COST} AS $body${body} $body$")
    view = first.VIEWS["reached_requests"].replace(DETACHES, condition)
    op.execute(f"CREATE OR REPLACE VIEW reached_requests AS {view}")


def _reasons() -> tuple[str, ...]:
    reasons: tuple[str, ...] = import_module("models.migrations.versions.0023_known_places").AFTER
    return reasons


def _deeds(*new: str) -> list[str]:
    was = import_module("models.migrations.versions.0046_setting_up")
    deeds = [*was.DEEDS, *was.OF_LOGINS, *was.OF_COMPANIES, *was.NEW_OF_LOGINS, *was.NEW, *was.OF_NO_ACCOUNT]
    place = deeds.index("detach_asked") + 1
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
