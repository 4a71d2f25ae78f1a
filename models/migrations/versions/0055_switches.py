"""Allow requests of kind "switch", and create the table of the consents that they need from present main accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

COST = "COST 1000"
DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp"
ENDED = "'cancelled', 'completed', 'failed', 'rejected'"
# By constraint of `requests`: the rule before, and now.
RULES = {
    "account_known": (
        "kind = 'link' OR account_id IS NOT NULL",
        "kind IN ('link', 'switch') OR account_id IS NOT NULL",
    ),
    "kinds_with_a_day": (
        "effective_on IS NULL OR kind NOT IN ('order', 'link')",
        "effective_on IS NULL OR kind NOT IN ('order', 'link', 'switch')",
    ),
    "link_asks_for_proof": (
        "(kind = 'link') = (asked_proof IS NOT NULL)",
        "(kind IN ('link', 'switch')) = (asked_proof IS NOT NULL)",
    ),
}
# Table and column of the checks that list words: the words that are new.
LISTS = {
    ("requests", "kind"): ("switch",),
    ("bulks", "kind"): ("switch",),
    ("requests", "reason"): ("main_consent_awaited", "declined_by_main"),
    ("audit_entries", "deed"): ("switch_answered",),
}
# The words that are allowed are read, in their order, from the check that is there, whichever migration made it.
RECHECK = """
DO $$ DECLARE listed text; BEGIN
    SELECT string_agg(quote_literal(word), ', ' ORDER BY place) INTO listed FROM (
        SELECT word, min(place) AS place FROM (
            SELECT hit[1] AS word, place FROM pg_constraint,
                regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''', 'g') WITH ORDINALITY AS each (hit, place)
            WHERE conrelid = '{table}'::regclass AND conname = '{name}'
            UNION ALL
            SELECT word, 1000 + place FROM unnest(ARRAY[{added}]::text[]) WITH ORDINALITY AS new (word, place)
        ) AS named GROUP BY word
    ) AS words WHERE word <> ALL (ARRAY[{removed}]::text[]);
    EXECUTE format(
        'ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({column} IN (%s)) NOT VALID', listed
    );
END $$
"""
# Who sees a switch, besides the people of the new main account: the account's own people, as for a link, and those who
# lead the main account that is asked, also when the account has left it.
KNOWS_SWITCH = """
BEGIN
    RETURN EXISTS (
        SELECT FROM accounts AS own
        WHERE own.customer_number = knows_switch.customer_number AND own.id = ANY (caller_accounts())
    ) OR EXISTS (
        SELECT FROM main_consents AS asked
        WHERE asked.request_id = knows_switch.id AND asked.main_id = ANY (caller_leads())
    );
END"""
# By function: what stands in it, and what stands there now. Read from the function that is there, as others change them.
PATCHES = {
    "reaches_request(uuid)": (
        "RETURN coalesce(knows_request(",
        "RETURN (asked.kind = 'switch' AND knows_switch(reaches_request.id, asked.customer_number))"
        " OR coalesce(knows_request(",
    ),
    # The new main account, for those who are asked to let the account go.
    "caller_knows()": (
        "UNION ALL SELECT id FROM accounts WHERE customer_number = ANY (named_in_transaction('customer_number'))",
        "UNION ALL SELECT requests.main_id FROM main_consents AS asked JOIN requests ON requests.id = asked.request_id"
        " WHERE asked.main_id = ANY (caller_leads())"
        " UNION ALL SELECT id FROM accounts WHERE customer_number = ANY (named_in_transaction('customer_number'))",
    ),
    # Who asks for a switch, for those who are asked.
    "knows_user(bigint)": (
        "OR EXISTS (SELECT FROM requests JOIN reached_requests USING (id) WHERE requests.requested_by = knows_user.id)",
        "OR EXISTS (SELECT FROM requests JOIN reached_requests USING (id) WHERE requests.requested_by = knows_user.id)"
        " OR EXISTS (SELECT FROM requests WHERE requests.requested_by = knows_user.id AND kind = 'switch'"
        " AND knows_switch(requests.id, requests.customer_number))",
    ),
}
PATCH = """
DO $$ DECLARE body text := pg_get_functiondef('{name}'::regprocedure); BEGIN
    IF position({old} IN body) = 0 THEN
        RAISE EXCEPTION '{name} is not as expected';
    END IF;
    IF position({new} IN body) = 0 OR position({new} IN {old}) > 0 THEN
        EXECUTE replace(body, {old}, {new});
    END IF;
END $$
"""


def upgrade() -> None:
    # Each statement commits on its own: a transaction that locks several tables can deadlock with a customer's.
    with op.get_context().autocommit_block():
        for (table, column), words in LISTS.items():
            _recheck(table, column, added=words)
        for name, (_, rule) in RULES.items():
            _check(name, rule)
        op.create_index(
            "uq_requests_attaching",
            "requests",
            ["main_id", "customer_number"],
            unique=True,
            postgresql_where=sa.text(f"kind IN ('link', 'switch') AND status NOT IN ({ENDED})"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_table(
            "main_consents",
            sa.Column("request_id", sa.Uuid(), nullable=False),
            sa.Column("main_id", sa.BigInteger(), nullable=False),
            sa.Column("decision", sa.String(32), nullable=True),
            sa.Column("decided_by", sa.BigInteger(), nullable=True),
            sa.Column("decided_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.Column("moved_at", sa.TIMESTAMP(timezone=True), nullable=True),
            sa.Column("issue", sa.Integer(), nullable=False),
            sa.Column("sent_issue", sa.Integer(), nullable=False),
            sa.Column("asked_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("wrong_tries", sa.Integer(), nullable=False),
            sa.Column("reminders", sa.Integer(), nullable=False),
            sa.Column("resent", sa.Integer(), nullable=False),
            sa.Column("salt", sa.Text(), nullable=True),
            sa.CheckConstraint("decision IN ('accepted', 'declined')", name=op.f("ck_main_consents_decision")),
            sa.CheckConstraint(
                "(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_main_consents_decision_has_time")
            ),
            sa.CheckConstraint(
                "(decision IS NULL) = (decided_by IS NULL)", name=op.f("ck_main_consents_decision_has_author")
            ),
            sa.CheckConstraint(
                "moved_at IS NULL OR decision = 'accepted'", name=op.f("ck_main_consents_moved_by_consent")
            ),
            sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_main_consents_request_id")),
            sa.ForeignKeyConstraint(["main_id"], ["accounts.id"], name=op.f("fk_main_consents_main_id")),
            sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_main_consents_decided_by")),
            sa.PrimaryKeyConstraint("request_id", name=op.f("pk_main_consents")),
            if_not_exists=True,
        )
        op.create_index(
            op.f("ix_main_consents_main_id"),
            "main_consents",
            ["main_id"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )
    head = "knows_switch(id uuid, customer_number text) RETURNS boolean"
    op.execute(f"CREATE OR REPLACE FUNCTION {head} {DEFINER} STABLE {COST} AS $body${KNOWS_SWITCH} $body$")
    for name, (old, new) in PATCHES.items():
        _patch(name, old, new)


def downgrade() -> None:
    for name, (old, new) in PATCHES.items():
        _patch(name, new, old)
    # It asks a function that goes; the next `standorte migrate` makes the policies again.
    for name in ("front_sees", "front_adds", "front_changes", "front_deletes"):
        op.execute(f"DROP POLICY IF EXISTS {name} ON requests")
    op.execute("DROP FUNCTION IF EXISTS knows_switch")
    op.drop_table("main_consents", if_exists=True)
    switches = "(SELECT id FROM requests WHERE kind = 'switch')"
    for table in ("timeline_entries", "messages", "idempotency_keys", "ownership_proofs", "consents"):
        op.execute(f"DELETE FROM {table} WHERE request_id IN {switches}")  # noqa: S608
    op.execute("DELETE FROM requests WHERE kind = 'switch'")
    op.execute("DELETE FROM audit_entries WHERE deed = 'switch_answered'")
    op.drop_index("uq_requests_attaching", "requests", if_exists=True)
    for name, (rule, _) in RULES.items():
        _check(name, rule)
    for (table, column), words in LISTS.items():
        _recheck(table, column, removed=words)


def _recheck(table: str, column: str, *, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> None:
    name = f"ck_{table}_{column}"
    op.execute(RECHECK.format(table=table, name=name, column=column, added=_quoted(added), removed=_quoted(removed)))
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _check(name: str, rule: str) -> None:
    full = op.f(f"ck_requests_{name}")
    op.execute(
        # The same statement puts the new one there.
        "-- squawk-ignore ban-drop-constraint\n"
        f"ALTER TABLE requests DROP CONSTRAINT IF EXISTS {full}, ADD CONSTRAINT {full} CHECK ({rule}) NOT VALID"
    )
    op.execute(f"ALTER TABLE requests VALIDATE CONSTRAINT {full}")


def _patch(name: str, old: str, new: str) -> None:
    quoted = {word: "'" + text.replace("'", "''") + "'" for word, text in (("old", old), ("new", new))}
    op.execute(PATCH.format(name=name, **quoted))


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
