"""Allow call forwardings for one number or a range of an account's numbers.

A trigger, in place of a constraint, refuses ranges that overlap only partly. It also refuses two enabled forwardings of
the same numbers and condition whose hours overlap.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_RULES = """
CREATE OR REPLACE FUNCTION refuse_conflicting_forwarding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Transactions that write forwardings of one account take turns, so that the second one sees the first one's rows.
    PERFORM FROM accounts WHERE id = NEW.account_id FOR NO KEY UPDATE;
    IF NEW.enabled AND EXISTS (
        SELECT FROM call_forwardings
        WHERE account_id = NEW.account_id AND id <> NEW.id AND enabled AND condition = NEW.condition
            AND first_number IS NOT DISTINCT FROM NEW.first_number AND last_number IS NOT DISTINCT FROM NEW.last_number
            AND hours && NEW.hours
    ) THEN
        RAISE EXCEPTION 'call_forwardings_hours: account % forwards at these hours already', NEW.account_id
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'call_forwardings_hours';
    END IF;
    IF EXISTS (
        SELECT FROM call_forwardings
        WHERE account_id = NEW.account_id AND first_number <= NEW.last_number AND last_number >= NEW.first_number
            AND NOT (first_number >= NEW.first_number AND last_number <= NEW.last_number)
            AND NOT (first_number <= NEW.first_number AND last_number >= NEW.last_number)
    ) THEN
        RAISE EXCEPTION 'call_forwardings_nested: two ranges of account % overlap partly', NEW.account_id
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'call_forwardings_nested';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER call_forwardings_conflict
    AFTER INSERT OR UPDATE OF account_id, condition, hours, enabled, first_number, last_number
    ON call_forwardings FOR EACH ROW EXECUTE FUNCTION refuse_conflicting_forwarding();
"""
_PLACE = (
    "CASE condition WHEN 'always' THEN 0 WHEN 'busy' THEN 1 WHEN 'no_answer' THEN 2 WHEN 'not_registered' THEN 3 END"
)


def upgrade() -> None:
    op.add_column("call_forwardings", sa.Column("first_number", sa.BigInteger(), nullable=True), if_not_exists=True)
    op.add_column("call_forwardings", sa.Column("last_number", sa.BigInteger(), nullable=True), if_not_exists=True)
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE call_forwardings DROP CONSTRAINT IF EXISTS ck_call_forwardings_numbers,"
        " ADD CONSTRAINT ck_call_forwardings_numbers CHECK ("
        "(first_number IS NULL) = (last_number IS NULL) AND first_number <= last_number) NOT VALID"
    )
    op.execute(_RULES)
    # The trigger keeps its rule. An exclusion constraint that knows the numbers, too, cannot be built concurrently:
    # 100,000 forwardings took it half a minute, with the table locked.
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE call_forwardings DROP CONSTRAINT IF EXISTS ex_call_forwardings_hours"
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE call_forwardings VALIDATE CONSTRAINT ck_call_forwardings_numbers")


def downgrade() -> None:
    # The schema before knows forwardings for all numbers only.
    op.execute("DELETE FROM call_forwardings WHERE first_number IS NOT NULL")
    op.execute(
        "ALTER TABLE call_forwardings ADD CONSTRAINT ex_call_forwardings_hours EXCLUDE USING gist ("
        f"int8range(account_id, account_id, '[]') WITH &&, int4range({_PLACE}, {_PLACE}, '[]') WITH &&, hours WITH &&"
        ") WHERE (enabled)"
    )
    op.execute("DROP TRIGGER IF EXISTS call_forwardings_conflict ON call_forwardings")
    op.execute("DROP FUNCTION IF EXISTS refuse_conflicting_forwarding")
    op.execute("ALTER TABLE call_forwardings DROP CONSTRAINT IF EXISTS ck_call_forwardings_numbers")
    op.drop_column("call_forwardings", "last_number", if_exists=True)
    op.drop_column("call_forwardings", "first_number", if_exists=True)
