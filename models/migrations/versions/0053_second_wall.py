"""Let row-level security take a request and the rows that refer to it in one statement."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0053"
down_revision = "0048"
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


def upgrade() -> None:
    for head, body in STABLE.items():
        op.execute(f"CREATE OR REPLACE FUNCTION {head} {BEFORE.DEFINER} STABLE {_cost(head)} AS $body${body} $body$")


def downgrade() -> None:
    # A policy asks it; the next `standorte migrate` makes that policy again.
    op.execute("DROP POLICY IF EXISTS front_adds ON timeline_entries")
    for head in STABLE:
        if body := BEFORE.STABLE.get(head):
            op.execute(
                f"CREATE OR REPLACE FUNCTION {head} {BEFORE.DEFINER} STABLE {_cost(head)} AS $body${body} $body$"
            )
        else:
            op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")


def _cost(head: str) -> str:
    return BEFORE.COST if head.split("_")[0] in BEFORE.ROW_WORDS else ""
