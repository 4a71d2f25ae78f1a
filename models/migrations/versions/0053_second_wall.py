"""Let row-level security accept a request and the rows that refer to it in one statement.

Also save from when on links mailed to a person are void, and allow more kinds of audit entries from the console.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0050"
branch_labels = None
depends_on = None

BEFORE = import_module("models.migrations.versions.0042_cheap_callers")

STABLE = {
    # Whether there is no such request yet: then the statement that asks has to insert it, as its rows refer to it.
    "is_request_new(id uuid) RETURNS boolean": """
BEGIN
    RETURN NOT EXISTS (SELECT FROM requests WHERE requests.id = is_request_new.id);
END""",
    # As in 0042, but asks nothing further about a request that is not there.
    "reaches_request(id uuid) RETURNS boolean": """
DECLARE asked record;
BEGIN
    IF reaches_request.id = ANY (named_in_transaction('request')::uuid[]) THEN
        RETURN true;
    END IF;
    SELECT kind, main_id, account_id, customer_number INTO asked FROM requests WHERE requests.id = reaches_request.id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF asked.main_id = ANY (caller_accounts()) THEN
        RETURN true;
    END IF;
    RETURN coalesce(knows_request(asked.kind, asked.main_id, asked.account_id, asked.customer_number), false);
END""",
}
OF_NO_ACCOUNT = ("high_risk_added", "high_risk_removed")
NEW = ("limit_changed", *OF_NO_ACCOUNT)
CHECKS = {
    "deed": ("deed IN (%s)", NEW),
    "about_an_account": ("account_id IS NOT NULL OR deed IN (%s)", OF_NO_ACCOUNT),
}
# The deeds that are allowed are read, in their order, from the check that is there, whichever migration made it.
RECHECK = """
DO $$ DECLARE listed text; BEGIN
    SELECT string_agg(quote_literal(deed), ', ' ORDER BY place) INTO listed FROM (
        SELECT deed, min(place) AS place FROM (
            SELECT word[1] AS deed, place FROM pg_constraint,
                regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''', 'g') WITH ORDINALITY AS each (word, place)
            WHERE conrelid = 'audit_entries'::regclass AND conname = '{name}'
            UNION ALL
            SELECT deed, 1000 + place FROM unnest(ARRAY[{added}]::text[]) WITH ORDINALITY AS new (deed, place)
        ) AS named GROUP BY deed
    ) AS deeds WHERE deed <> ALL (ARRAY[{removed}]::text[]);
    EXECUTE format(
        'ALTER TABLE audit_entries DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID', listed
    );
END $$
"""


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        op.add_column(
            "users", sa.Column("links_void_at", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True
        )
        # Who is shut out already.
        op.execute(
            "UPDATE users SET links_void_at = disabled_at WHERE disabled_at IS NOT NULL AND links_void_at IS NULL"
        )
        for head, body in STABLE.items():
            op.execute(_function(head, body))
        for name, (rule, deeds) in CHECKS.items():
            _recheck(name, rule, added=deeds)


def downgrade() -> None:
    op.execute(f"DELETE FROM audit_entries WHERE deed IN ({_quoted(NEW)})")  # noqa: S608
    for name, (rule, deeds) in reversed(CHECKS.items()):
        _recheck(name, rule, removed=deeds)
    # It asks a function that goes; the next `standorte migrate` makes it again.
    op.execute("DROP POLICY IF EXISTS front_adds ON timeline_entries")
    for head in STABLE:
        if body := BEFORE.STABLE.get(head):
            op.execute(_function(head, body))
        else:
            op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    op.drop_column("users", "links_void_at", if_exists=True)


def _function(head: str, body: str) -> str:
    cost = BEFORE.COST if head.split("_")[0] in BEFORE.ROW_WORDS else ""
    return f"CREATE OR REPLACE FUNCTION {head} {BEFORE.DEFINER} STABLE {cost} AS $body${body} $body$"


def _recheck(name: str, rule: str, *, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> None:
    full = f"ck_audit_entries_{name}"
    op.execute(RECHECK.format(name=full, rule=rule, added=_quoted(added), removed=_quoted(removed)))
    # To validate again what is valid does no harm.
    op.execute(f"-- squawk-ignore prefer-robust-stmts\nALTER TABLE audit_entries VALIDATE CONSTRAINT {full}")


def _quoted(deeds: tuple[str, ...]) -> str:
    return ", ".join(f"'{deed}'" for deed in deeds)
