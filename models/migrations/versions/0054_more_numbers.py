"""Allow requests that add numbers to a trunk: save the reserved block, and the block that a contract line pays for.

Also save which detach request another one has replaced, and let a main account see the costs of former sub-accounts
that a cancellation has closed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

RULES = import_module("models.migrations.versions.0049_cancellations")
AUDIT = import_module("models.migrations.versions.0053_second_wall")
ENDED = RULES.ENDED
BEFORE = (*RULES.KINDS, "cancel")
STEPS = ("verify", "provision", "attach", "detach", "change", "assign", "cancel", "confirm")
WHOLE = {
    "numbers_are_whole": (
        "kind <> 'numbers' OR (changed_trunk_id IS NOT NULL AND area_code IS NOT NULL AND block_size IS NOT NULL"
        " AND product_key IS NOT NULL AND price_lines IS NOT NULL AND replaced_lines IS NOT NULL)"
    ),
    "numbers_reserve": "reserved_block_id IS NULL OR kind = 'numbers'",
    "detachments_displace": "displaced_id IS NULL OR kind = 'detach'",
    "cancellations_have_costs": "costs_from IS NULL OR kind = 'cancel'",
}
OF_FOUR = "kind IN ('detach', 'change', 'numbers', 'cancel') AND"
DEED = ("numbers_asked",)
COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any], str], ...] = (
    ("requests", "reserved_block_id", sa.BigInteger(), "number_blocks"),
    ("contract_items", "block_id", sa.BigInteger(), "number_blocks"),
    ("requests", "displaced_id", sa.Uuid(), "requests"),
)
"""The new columns: table, name, type, and the table whose `id` the column refers to."""
CALLERS = import_module("models.migrations.versions.0042_cheap_callers")
STABLE = {
    # Former sub-accounts of the led accounts that a cancellation has closed, as a set.
    "caller_closed() RETURNS SETOF bigint": """
BEGIN
    RETURN QUERY SELECT account_id FROM requests
        WHERE costs_from IS NOT NULL AND main_id = ANY ((SELECT caller_leads())::bigint[]);
END""",
    # As in 0042, and such an account.
    "knows_account(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = knows_account.id)
        OR EXISTS (SELECT FROM joining_accounts AS joining WHERE joining.id = knows_account.id)
        OR knows_account.id = ANY (caller_knows())
        OR EXISTS (
            SELECT FROM requests WHERE requests.account_id = knows_account.id AND costs_from IS NOT NULL
                AND main_id = ANY (caller_leads())
        );
END""",
}


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for table, column, type, other in COLUMNS:
            op.add_column(table, sa.Column(column, type, nullable=True), if_not_exists=True)
            key = f"fk_{table}_{column}"
            op.execute(
                # The same statement puts the new one there.
                "-- squawk-ignore ban-drop-constraint\n"
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {key}, ADD CONSTRAINT {key}"
                f" FOREIGN KEY ({column}) REFERENCES {other} (id) NOT VALID"
            )
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {key}")
        op.add_column("requests", sa.Column("costs_from", sa.Date(), nullable=True), if_not_exists=True)
        for table in ("requests", "bulks"):
            RULES._check(table, "kind", f"kind IN ({RULES._words(*RULES.KINDS, 'numbers', 'cancel')})")
        RULES._check("requests", "step", f"step IN ({RULES._words(*STEPS)})")
        for name, rule in WHOLE.items():
            RULES._check("requests", name, rule)
        op.create_index(
            "uq_requests_reserved",
            "requests",
            ["reserved_block_id"],
            unique=True,
            postgresql_where=sa.text(f"reserved_block_id IS NOT NULL AND status NOT IN ({ENDED})"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        # For the deletion of old requests: each looks for later ones that name it.
        op.create_index(
            "ix_requests_displaced_id",
            "requests",
            ["displaced_id"],
            postgresql_where=sa.text("displaced_id IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], added=DEED)
        for head, body in STABLE.items():
            op.execute(AUDIT._function(head, body))
    RULES._see_requests(OF_FOUR)


def downgrade() -> None:
    RULES._see_requests(RULES.OF_THREE)
    # They ask for the column that goes; the next `standorte migrate` makes them again.
    op.execute("DROP POLICY IF EXISTS front_sees ON contracts")
    op.execute("DROP POLICY IF EXISTS front_changes ON number_blocks")
    op.execute("DROP POLICY IF EXISTS front_deletes ON number_blocks")
    for head in STABLE:
        if body := CALLERS.STABLE.get(head):
            op.execute(AUDIT._function(head, body))
        else:
            op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    op.execute("DELETE FROM audit_entries WHERE deed = 'numbers_asked'")
    AUDIT._recheck("deed", AUDIT.CHECKS["deed"][0], removed=DEED)
    # Nobody has had the numbers of a block that is only reserved.
    op.execute("UPDATE number_blocks SET available_from = now() WHERE available_from = '9997-01-01 00:00:00+00'")
    for table in ("timeline_entries", "messages", "idempotency_keys"):
        op.execute(f"DELETE FROM {table} WHERE request_id IN (SELECT id FROM requests WHERE kind = 'numbers')")  # noqa: S608
    op.execute("DELETE FROM requests WHERE kind = 'numbers'")
    # The version before has no words for it.
    op.execute("UPDATE timeline_entries SET code = 'detach_scheduled' WHERE code = 'detach_restored'")
    op.drop_index("uq_requests_reserved", "requests", if_exists=True)
    for name in WHOLE:
        op.drop_constraint(op.f(f"ck_requests_{name}"), "requests", if_exists=True)
    RULES._check("requests", "step", f"step IN ({RULES._words(*RULES.NEW_STEPS)})")
    for table in ("requests", "bulks"):
        RULES._check(table, "kind", f"kind IN ({RULES._words(*BEFORE)})")
    for table, column, _type, _other in reversed(COLUMNS):
        op.drop_constraint(op.f(f"fk_{table}_{column}"), table, if_exists=True)
        op.drop_column(table, column, if_exists=True)
    op.drop_column("requests", "costs_from", if_exists=True)
