"""Make row-level security cheaper: look up the caller, and the caller's accounts, only once for each transaction.

The result is kept in a setting of the transaction, with a seal that no other statement can forge. The policies call
functions that read this setting, instead of querying tables for each row.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

# As in 0037: each acts as the owner, to whom no policy applies, and keeps its plans for as long as the connection lives.
DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp"

# Those that are asked for each row: no plan looks through a table by them where an index leads to the row.
ROW_WORDS = {"reaches", "knows"}
COST = "COST 1000"

# What `tell_caller` has found stands in a setting, which any statement can write. Its seal is a hash of it, the caller
# and the transaction, in the current values of two sequences: each session has its own, and only the owner sets them.
SEALS = ("caller_seal_1", "caller_seal_2")
SEQUENCE = "CREATE UNLOGGED SEQUENCE IF NOT EXISTS {} MINVALUE -9223372036854775808 START 1"

SEAL = """substr(sha256(
        textsend(length(found) || '|' || found || current_setting('standorte.caller', true)) || timestamptz_send(now())
    ), 1, 16)"""
# At the beginning of functions, not as one of its own, because they are called dozens of times in a transaction. The
# tables are asked again where nobody was told, and where the seal is not that of the setting.
FOUND = "DECLARE\n    found text := current_setting('standorte.found', true);"
ENSURE = f"""IF found = '' OR found IS NULL
        OR {SEAL} IS DISTINCT FROM currval('caller_seal_1')::bytea || currval('caller_seal_2')::bytea
    THEN
        found := look_up_caller();
    END IF;"""

VOLATILE = {
    # Says for whom the transaction works: who that is, and which accounts follow, is found now.
    "tell_caller(caller text) RETURNS void": f"""
DECLARE
    found text;
    seal bytea;
BEGIN
    -- Few expressions, as each is made ready once for a transaction, and no PERFORM, which would run a query.
    caller := set_config('standorte.caller', caller, true);
    -- A server that is only read cannot set a sequence.
    IF current_setting('transaction_read_only') = 'off' THEN
        found := coalesce(look_up_caller(), '');
        seal := {SEAL};
        found := set_config('standorte.found', found, true) || setval('caller_seal_1', substr(seal, 1, 8)::bigint)
            || setval('caller_seal_2', substr(seal, 9, 8)::bigint);
    END IF;
END""",
}
STABLE = {
    # User, whether staff, accounts, and led accounts of the caller, with | between them; null for nobody.
    "look_up_caller() RETURNS text": """
DECLARE caller text := current_setting('standorte.caller', true);
BEGIN
    IF caller LIKE 'login %' THEN
        RETURN (
            SELECT concat_ws(
                '|', logins.user_id, is_staff, coalesce(array_agg(account_id) FILTER (WHERE state IS NOT NULL), '{}'),
                coalesce(array_agg(account_id) FILTER (
                    WHERE memberships.role IN ('administrator', 'location_manager') AND state <> 'closed'
                ), '{}')
            )
            FROM logins JOIN users ON users.id = logins.user_id
                LEFT JOIN memberships ON memberships.user_id = users.id LEFT JOIN accounts ON accounts.id = account_id
            WHERE secret_hash = decode(substr(caller, 7), 'hex') GROUP BY logins.user_id, is_staff
        );
    ELSIF caller LIKE 'token %' THEN
        -- Reaches its account only, and never acts for the back office.
        RETURN (
            SELECT concat_ws('|', api_tokens.user_id, false,
                CASE WHEN memberships.role IS NULL THEN '{}' ELSE ARRAY[api_tokens.account_id] END,
                CASE WHEN memberships.role IN ('administrator', 'location_manager') AND state <> 'closed'
                    THEN ARRAY[api_tokens.account_id] ELSE '{}' END
            )
            FROM api_tokens LEFT JOIN memberships USING (user_id, account_id)
                LEFT JOIN accounts ON accounts.id = api_tokens.account_id
            WHERE token_hash = decode(substr(caller, 7), 'hex') AND revoked_at IS NULL
        );
    END IF;
    RETURN NULL;
END""",
    "caller_id() RETURNS bigint": f"""
{FOUND}
BEGIN
    {ENSURE}
    RETURN nullif(split_part(found, '|', 1), '');
END""",
    "caller_is_staff() RETURNS boolean": f"""
{FOUND}
BEGIN
    {ENSURE}
    RETURN coalesce(split_part(found, '|', 2) = 't', false);
END""",
    # With what a public page has opened.
    "caller_accounts() RETURNS bigint[]": f"""
{FOUND}
    own bigint[];
BEGIN
    {ENSURE}
    own := coalesce(nullif(split_part(found, '|', 3), ''), '{{}}');
    IF coalesce(named_in_transaction('invitation'), named_in_transaction('request')) IS NULL THEN
        RETURN own;
    END IF;
    IF named_in_transaction('invitation') IS NOT NULL THEN
        own := own || ARRAY(
            SELECT account_id FROM invitations WHERE id = ANY (named_in_transaction('invitation')::bigint[])
        );
    END IF;
    IF named_in_transaction('request') IS NOT NULL THEN
        own := own || ARRAY(
            SELECT unnest(ARRAY[requests.main_id, accounts.id]) FROM requests LEFT JOIN accounts USING (customer_number)
            WHERE requests.id = ANY (named_in_transaction('request')::uuid[])
        );
    END IF;
    RETURN own;
END""",  # noqa: S608
    "caller_leads() RETURNS bigint[]": f"""
{FOUND}
    led bigint[];
BEGIN
    {ENSURE}
    led := coalesce(nullif(split_part(found, '|', 4), ''), '{{}}');
    IF named_in_transaction('request') IS NOT NULL THEN
        led := led || ARRAY(SELECT main_id FROM requests WHERE id = ANY (named_in_transaction('request')::uuid[]));
    END IF;
    RETURN led;
END""",  # noqa: S608
    # The accounts whose customer number was typed.
    "caller_typed() RETURNS bigint[]": """
BEGIN
    IF named_in_transaction('customer_number') IS NULL THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT id FROM accounts WHERE customer_number = ANY (named_in_transaction('customer_number')));
END""",
    # The caller's own accounts and those that follow from them, as a set.
    "caller_reaches() RETURNS SETOF bigint": """
BEGIN
    RETURN QUERY SELECT id FROM reached_accounts;
END""",
    "reaches_account(id bigint) RETURNS boolean": """
BEGIN
    IF reaches_account.id = ANY (caller_accounts()) THEN
        RETURN true;
    END IF;
    RETURN EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = reaches_account.id);
END""",
    # For an account that is neither an own one nor the sub-account of a led one.
    "knows_account(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = knows_account.id)
        OR EXISTS (SELECT FROM joining_accounts AS joining WHERE joining.id = knows_account.id)
        OR knows_account.id = ANY (caller_knows());
END""",
    # The columns of a request, because it may not be written yet.
    "knows_request(kind text, main_id bigint, account_id bigint, customer_number text) RETURNS boolean": """
BEGIN
    IF reaches_account(main_id) OR (kind = 'detach' AND reaches_account(account_id)) THEN
        RETURN true;
    END IF;
    RETURN kind = 'link' AND EXISTS (
        SELECT FROM accounts AS own
        WHERE own.customer_number = knows_request.customer_number AND own.id = ANY (caller_accounts())
    );
END""",
    "reaches_request(id uuid) RETURNS boolean": """
DECLARE asked record;
BEGIN
    IF reaches_request.id = ANY (named_in_transaction('request')::uuid[]) THEN
        RETURN true;
    END IF;
    SELECT kind, main_id, account_id, customer_number INTO asked FROM requests WHERE requests.id = reaches_request.id;
    IF asked.main_id = ANY (caller_accounts()) THEN
        RETURN true;
    END IF;
    RETURN coalesce(knows_request(asked.kind, asked.main_id, asked.account_id, asked.customer_number), false);
END""",
    "reaches_bulk(id uuid) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM bulks WHERE bulks.id = reaches_bulk.id AND reaches_account(main_id));
END""",
    "reaches_contract(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM contracts WHERE contracts.id = reaches_contract.id AND reaches_account(account_id));
END""",
    "reaches_invoice(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (
        SELECT FROM collective_invoices AS one WHERE one.id = reaches_invoice.id AND reaches_account(main_id)
    );
END""",
    # The main accounts above that have ordered an own account.
    "caller_orderers() RETURNS bigint[]": """
BEGIN
    RETURN ARRAY(
        SELECT main_id FROM accounts WHERE id = ANY (caller_accounts()) AND main_id IS NOT NULL AND origin = 'order'
    );
END""",
    # Whether an own account leaves this main account.
    "leaves_main(id bigint, main_id bigint) RETURNS boolean": """
BEGIN
    RETURN leaves_main.id = ANY (caller_accounts()) AND EXISTS (
        SELECT FROM accounts WHERE accounts.id = leaves_main.id AND accounts.main_id = leaves_main.main_id
    );
END""",
    # Whether this role is what the opened invitation offers, to the person with its address.
    "is_offered(user_id bigint, account_id bigint, role text) RETURNS boolean": """
BEGIN
    RETURN named_in_transaction('invitation') IS NOT NULL AND EXISTS (
        SELECT FROM opened_invitations AS opened
        WHERE opened.user_id = is_offered.user_id AND opened.account_id = is_offered.account_id
            AND opened.role = is_offered.role
    );
END""",
    "is_member(user_id bigint, account_id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (
        SELECT FROM memberships AS one
        WHERE one.user_id = is_member.user_id AND one.account_id = is_member.account_id
    );
END""",
    # For a person other than the caller: people of the accounts, those who asked for something or did something there,
    # who sent the opened invitation, and the administrators of the main account above.
    "knows_user(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (
            SELECT FROM memberships AS one WHERE one.user_id = knows_user.id
                AND (reaches_account(one.account_id)
                    OR (one.role = 'administrator' AND one.account_id = ANY (caller_mains())))
        )
        OR EXISTS (SELECT FROM requests JOIN reached_requests USING (id) WHERE requests.requested_by = knows_user.id)
        OR EXISTS (
            SELECT FROM audit_entries AS done WHERE done.user_id = knows_user.id AND NOT done.by_staff
                AND (done.account_id = ANY ((SELECT caller_accounts())::bigint[])
                    OR (done.through_id = ANY ((SELECT caller_leads())::bigint[]) AND reaches_account(done.account_id)))
        )
        -- Entries tell of people who have left by their number.
        OR EXISTS (
            SELECT FROM audit_entries AS told
            WHERE told.facts ? 'user_id' AND (told.facts ->> 'user_id')::bigint = knows_user.id
                AND (told.account_id = ANY ((SELECT caller_accounts())::bigint[])
                    OR (told.through_id = ANY ((SELECT caller_leads())::bigint[]) AND reaches_account(told.account_id)))
        )
        OR EXISTS (SELECT FROM opened_invitations AS opened WHERE opened.invited_by = knows_user.id);
END""",
    # From when on a company of the person asks for a second factor; null if none does. For any person, as a page that
    # checks a password has to know it of companies which are not its caller's, and must not fail open.
    "factor_required_from(person bigint) RETURNS timestamptz": """
BEGIN
    RETURN (
        SELECT min(least(accounts.factor_required_from, main.factor_required_from)) FROM memberships
        JOIN accounts ON accounts.id = account_id LEFT JOIN accounts AS main ON main.id = accounts.main_id
        WHERE user_id = person AND accounts.state <> 'closed'
    );
END""",
    # Whether the person has a second factor: a company that demands one is told who has none.
    "has_factor(person bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM second_factors WHERE user_id = person);
END""",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_audit_entries_told_of",
            "audit_entries",
            [sa.text("((facts ->> 'user_id'::text)::bigint)")],
            postgresql_where=sa.text("facts ? 'user_id'::text"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
    for name in SEALS:
        op.execute(SEQUENCE.format(name))
    for volatility, functions in (("STABLE", STABLE), ("VOLATILE", VOLATILE)):
        for head, body in functions.items():
            cost = COST if head.split("_")[0] in ROW_WORDS else ""
            op.execute(f"CREATE OR REPLACE FUNCTION {head} {DEFINER} {volatility} {cost} AS $body${body} $body$")


def downgrade() -> None:
    # Policies ask the functions; the next `standorte migrate` makes them again.
    before = import_module("models.migrations.versions.0037_callers")
    op.execute(before.NO_POLICIES)
    for head in (*VOLATILE, *STABLE):
        if head in before.FUNCTIONS:
            op.execute(f"CREATE OR REPLACE FUNCTION {head} {before.HEAD} AS $body${before.FUNCTIONS[head]} $body$")
        else:
            op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    for name in SEALS:
        op.execute(f"DROP SEQUENCE IF EXISTS {name}")
    op.drop_index("ix_audit_entries_told_of", "audit_entries", if_exists=True)
