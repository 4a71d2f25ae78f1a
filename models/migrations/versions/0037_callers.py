"""Create the functions and views by which row-level security learns who the caller is and what the caller may see.

The caller is the person on whose behalf a transaction of the web process runs (`models.db.caller`). The policies
themselves are in `models.db.row_security`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

# Each function acts as the owner, to whom no policy applies: a policy that asked the tables itself would ask for ever.
# PL/pgSQL, because it keeps its plans for as long as the connection lives.
HEAD = "LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp"

# What the transaction has named (`models.db.caller`), as rows of text. Reads no table, and is put into its queries.
NAMED = """
CREATE OR REPLACE FUNCTION named_in_transaction(kind text) RETURNS text[] LANGUAGE sql STABLE
RETURN pg_catalog.string_to_array(nullif(pg_catalog.current_setting('standorte.' || kind, true), ''), E'\\n')
"""

FUNCTIONS = {
    # The user who is signed in, or whose API token it is; null for nobody.
    "caller_id() RETURNS bigint": """
DECLARE caller text := current_setting('standorte.caller', true);
BEGIN
    IF caller LIKE 'login %' THEN
        RETURN (SELECT user_id FROM logins WHERE secret_hash = decode(substr(caller, 7), 'hex'));
    ELSIF caller LIKE 'token %' THEN
        RETURN (
            SELECT user_id FROM api_tokens WHERE token_hash = decode(substr(caller, 7), 'hex') AND revoked_at IS NULL
        );
    END IF;
    RETURN NULL;
END""",
    # A token never acts for the back office.
    "caller_is_staff() RETURNS boolean": """
BEGIN
    IF current_setting('standorte.caller', true) LIKE 'login %' THEN
        RETURN coalesce((SELECT is_staff FROM users WHERE id = caller_id()), false);
    END IF;
    RETURN false;
END""",
    # The people whose own rows the transaction is about: the signed-in one, or the one whom a public page names.
    "caller_people() RETURNS bigint[]": """
DECLARE found bigint[] := '{}';
BEGIN
    IF current_setting('standorte.caller', true) LIKE 'login %' THEN
        found := array_append(found, caller_id());
    END IF;
    IF named_in_transaction('person') IS NOT NULL THEN
        found := found || named_in_transaction('person')::bigint[];
    END IF;
    IF named_in_transaction('email') IS NOT NULL THEN
        found := found || ARRAY(SELECT id FROM users WHERE email = ANY (named_in_transaction('email')));
    END IF;
    RETURN found;
END""",
    # The accounts in which the caller has a role, for a token its own only; and what a public page has opened.
    "caller_accounts() RETURNS bigint[]": """
DECLARE
    caller text := current_setting('standorte.caller', true);
    found bigint[] := '{}';
BEGIN
    IF caller LIKE 'login %' THEN
        found := ARRAY(SELECT account_id FROM memberships WHERE user_id = caller_id());
    ELSIF caller LIKE 'token %' THEN
        found := ARRAY(
            SELECT account_id FROM api_tokens JOIN memberships USING (user_id, account_id)
            WHERE token_hash = decode(substr(caller, 7), 'hex') AND revoked_at IS NULL
        );
    END IF;
    IF named_in_transaction('invitation') IS NOT NULL THEN
        found := found || ARRAY(
            SELECT account_id FROM invitations WHERE id = ANY (named_in_transaction('invitation')::bigint[])
        );
    END IF;
    IF named_in_transaction('request') IS NOT NULL THEN
        found := found || ARRAY(
            SELECT unnest(ARRAY[requests.main_id, accounts.id]) FROM requests LEFT JOIN accounts USING (customer_number)
            WHERE requests.id = ANY (named_in_transaction('request')::uuid[])
        );
    END IF;
    RETURN found;
END""",
    # Those of them whose sub-accounts the caller reaches.
    "caller_leads() RETURNS bigint[]": """
DECLARE found bigint[] := ARRAY(
    SELECT account_id FROM memberships JOIN accounts ON accounts.id = account_id
    WHERE user_id = caller_id() AND account_id = ANY (caller_accounts())
        AND memberships.role IN ('administrator', 'location_manager') AND state <> 'closed'
);
BEGIN
    IF named_in_transaction('request') IS NOT NULL THEN
        found := found || ARRAY(SELECT main_id FROM requests WHERE id = ANY (named_in_transaction('request')::uuid[]));
    END IF;
    RETURN found;
END""",
    # The accounts whose users the caller manages.
    "caller_administers() RETURNS bigint[]": """
BEGIN
    RETURN CASE WHEN current_setting('standorte.caller', true) LIKE 'login %' THEN ARRAY(
        SELECT account_id FROM memberships JOIN accounts ON accounts.id = account_id
        WHERE user_id = caller_id() AND memberships.role = 'administrator' AND state <> 'closed'
    ) ELSE '{}' END;
END""",
    # Accounts of which the caller sees name and number, and nothing else: main accounts of their own, those that ask
    # to attach one of their own, and the one whose customer number was typed.
    "caller_knows() RETURNS bigint[]": """
DECLARE own bigint[] := caller_accounts();
BEGIN
    RETURN ARRAY(
        SELECT main_id FROM accounts WHERE id = ANY (own) AND main_id IS NOT NULL
        UNION ALL SELECT main_id FROM requests WHERE account_id = ANY (own)
        UNION ALL SELECT main_id FROM requests
            WHERE account_id IS NULL AND customer_number IN (SELECT customer_number FROM accounts WHERE id = ANY (own))
        UNION ALL SELECT id FROM accounts WHERE customer_number = ANY (named_in_transaction('customer_number'))
    );
END""",
    # The main accounts above the caller's own: whose administrators are told what is risky, and whose contract holder
    # is that of an account which they have ordered.
    "caller_mains() RETURNS bigint[]": """
BEGIN
    RETURN ARRAY(SELECT main_id FROM accounts WHERE id = ANY (caller_accounts()) AND main_id IS NOT NULL);
END""",
    # Those who have a role in an account of the caller, and who sent the invitation that is opened: of them it is seen
    # whether they belong to the main account.
    "caller_team() RETURNS bigint[]": """
BEGIN
    RETURN ARRAY(
        SELECT user_id FROM memberships WHERE account_id = ANY (caller_accounts())
        UNION ALL SELECT invited_by FROM invitations WHERE id = ANY (named_in_transaction('invitation')::bigint[])
    );
END""",
    # Whether the policies hold; if not, the caller is not told, and the front's own rights count alone.
    "is_row_security_on() RETURNS boolean": """
BEGIN
    RETURN (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'public.accounts'::regclass);
END""",
    # Whether the account belongs to an order already: if not, this transaction has just made it.
    "is_account_ordered(id bigint) RETURNS boolean": """
BEGIN
    RETURN EXISTS (SELECT FROM requests WHERE requests.account_id = is_account_ordered.id AND kind = 'order');
END""",
}

# Views act as their owner, too, and the planner sees through them, which it does not with functions.
VIEWS = {
    "reached_accounts": """
SELECT id, customer_number FROM accounts
WHERE id = ANY ((SELECT caller_accounts())::bigint[]) OR main_id = ANY ((SELECT caller_leads())::bigint[])
    -- Ordered and not active yet, or never: nobody else had it.
    OR (state <> 'active' AND EXISTS (
        SELECT FROM requests WHERE requests.account_id = accounts.id AND kind = 'order'
            AND requests.main_id = ANY ((SELECT caller_leads())::bigint[])
    ))""",
    # The accounts about to become sub-accounts.
    "joining_accounts": """
SELECT account_id AS id FROM requests
WHERE ended_at IS NULL AND main_id = ANY ((SELECT caller_leads())::bigint[])""",
    # Its main account's people see a request; those of the other account if it leaves or is asked.
    "reached_requests": """
SELECT id FROM requests
WHERE (SELECT caller_is_staff())
    OR EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = requests.main_id)
    OR (kind = 'detach' AND EXISTS (SELECT FROM reached_accounts AS reached WHERE reached.id = requests.account_id))
    OR (kind = 'link' AND customer_number IN (
        SELECT own.customer_number FROM accounts AS own WHERE own.id = ANY ((SELECT caller_accounts())::bigint[])
    ))
    OR id = ANY ((SELECT named_in_transaction('request'))::uuid[])""",
    # What the opened invitation offers, and to whom: null if the address has no user yet.
    "opened_invitations": """
SELECT account_id, role, email, invited_by, users.id AS user_id FROM invitations LEFT JOIN users USING (email)
WHERE invitations.id = ANY ((SELECT named_in_transaction('invitation'))::bigint[])""",
    # What the metrics count, without a word about customers.
    "queue_of_requests": "SELECT status, step, due_at FROM requests",
    "queue_of_messages": "SELECT state FROM messages",
    # For the back office's search: a policy would keep the planner from the indexes of texts. The main account came with
    # 0067, and is here because a view cannot lose a column when this migration runs again.
    "accounts_of_staff": """
SELECT id, customer_number, name, street, postal_code, city, contact_name, contact_email, contact_phone, main_id
FROM accounts WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff() OR NOT is_row_security_on())""",
    "users_of_staff": """
SELECT id, name, email FROM users WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff() OR NOT is_row_security_on())""",
    "number_blocks_of_staff": """
SELECT id, first_number, size, account_id FROM number_blocks
WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff() OR NOT is_row_security_on())""",
}

NO_POLICIES = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', one.tablename);
        EXECUTE format('DROP POLICY %I ON %I', one.policyname, one.tablename);
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.alter_column("users", "is_staff", server_default=sa.false())
    op.execute(NAMED)
    for head, body in FUNCTIONS.items():
        op.execute(f"CREATE OR REPLACE FUNCTION {head} {HEAD} AS $body${body} $body$")
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    op.execute(NO_POLICIES)
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW IF EXISTS {name}")
    for head in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    op.execute("DROP FUNCTION IF EXISTS named_in_transaction")
    op.alter_column("users", "is_staff", server_default=None)
