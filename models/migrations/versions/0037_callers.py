"""The database knows for whom the front works: functions and views that the front's row-level security asks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

# Acts as the owner, to whom no policy applies: a policy that asked the tables itself would ask for ever. PL/pgSQL,
# because it keeps its plans for as long as the connection lives.
HEAD = "LANGUAGE plpgsql {} SECURITY DEFINER SET search_path = public, pg_temp"

# What the transaction has named (`models.db.caller`), as rows of text.
NAMED = """
CREATE OR REPLACE FUNCTION named_in_transaction(kind text) RETURNS text[] LANGUAGE sql STABLE
RETURN pg_catalog.string_to_array(nullif(pg_catalog.current_setting('standorte.' || kind, true), ''), E'\n')
"""

# What `tell_caller` has found out, once in each transaction. They read no table, and are put into the queries.
SETTINGS = {
    "id": ("caller_id", "bigint", "The user who is signed in, or whose API token it is; null for nobody."),
    "staff": ("caller_is_staff", "boolean", "Whether it is one of the staff; a token never acts for the back office."),
    "people": (
        "caller_people",
        "bigint[]",
        "Whose own rows the transaction is about: the person signed in, or the one whom a public page names.",
    ),
    "accounts": (
        "caller_accounts",
        "bigint[]",
        "The accounts in which the caller has a role, for a token its own only; and what a public page has opened.",
    ),
    "leads": ("caller_leads", "bigint[]", "Those of them whose sub-accounts the caller reaches."),
    "administers": ("caller_administers", "bigint[]", "The accounts whose users the caller manages."),
    "mains": (
        "caller_mains",
        "bigint[]",
        "The main accounts above the caller's own: whose administrators are told what is risky, and whose contract"
        " holder is that of an account which they have ordered.",
    ),
}
_EMPTY = {"bigint": "NULL", "boolean": "false", "bigint[]": "'{}'"}

TELL = f"""
CREATE OR REPLACE FUNCTION tell_caller(caller text) RETURNS void {HEAD.format("VOLATILE")} AS $body$
DECLARE
    login bytea := CASE WHEN caller LIKE 'login %' THEN decode(substr(caller, 7), 'hex') END;
    token bytea := CASE WHEN caller LIKE 'token %' THEN decode(substr(caller, 7), 'hex') END;
    me bigint;
    of_token bigint;
    staff boolean := false;
    people bigint[] := '{{}}';
    own bigint[] := '{{}}';
    leads bigint[] := '{{}}';
    administers bigint[] := '{{}}';
    mains bigint[] := '{{}}';
BEGIN
    IF login IS NOT NULL THEN
        SELECT users.id, is_staff INTO me, staff
        FROM logins JOIN users ON users.id = user_id WHERE secret_hash = login;
        IF me IS NOT NULL THEN
            people := ARRAY[me];
        END IF;
    ELSIF token IS NOT NULL THEN
        SELECT user_id, account_id INTO me, of_token FROM api_tokens WHERE token_hash = token AND revoked_at IS NULL;
    END IF;
    IF me IS NOT NULL THEN
        SELECT coalesce(array_agg(accounts.id), '{{}}'),
            coalesce(array_agg(accounts.id) FILTER (WHERE state <> 'closed'
                AND memberships.role IN ('administrator', 'location_manager')), '{{}}'),
            coalesce(array_agg(accounts.id) FILTER (WHERE state <> 'closed'
                AND memberships.role = 'administrator' AND login IS NOT NULL), '{{}}')
        INTO own, leads, administers
        FROM memberships JOIN accounts ON accounts.id = account_id
        WHERE user_id = me AND (of_token IS NULL OR account_id = of_token);
    END IF;
    IF named_in_transaction('person') IS NOT NULL THEN
        people := people || named_in_transaction('person')::bigint[];
    END IF;
    IF named_in_transaction('email') IS NOT NULL THEN
        people := people || ARRAY(SELECT id FROM users WHERE email = ANY (named_in_transaction('email')));
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
        leads := leads || ARRAY(SELECT main_id FROM requests WHERE id = ANY (named_in_transaction('request')::uuid[]));
    END IF;
    IF own <> '{{}}' THEN
        mains := ARRAY(SELECT main_id FROM accounts WHERE id = ANY (own) AND main_id IS NOT NULL);
    END IF;
    PERFORM set_config('standorte.caller', caller, true),
        set_config('standorte.id', coalesce(me::text, ''), true),
        set_config('standorte.staff', coalesce(staff, false)::text, true),
        set_config('standorte.people', people::text, true),
        set_config('standorte.accounts', own::text, true),
        set_config('standorte.leads', leads::text, true),
        set_config('standorte.administers', administers::text, true),
        set_config('standorte.mains', mains::text, true);
END $body$"""

# Names what the transaction has to find though it is not its caller's, and finds out anew what it sees.
NAME = """
CREATE OR REPLACE FUNCTION name_row(kind text, what text) RETURNS void LANGUAGE plpgsql VOLATILE AS $body$
BEGIN
    PERFORM set_config('standorte.' || kind, what, true);
    PERFORM tell_caller(coalesce(current_setting('standorte.caller', true), ''));
END $body$"""

FUNCTIONS = {
    # Accounts of which the caller sees name and number, and nothing else: main accounts of their own, those that ask
    # to attach one of their own, and the one whose customer number was typed.
    "caller_knows() RETURNS bigint[]": """
DECLARE own bigint[] := caller_accounts();
BEGIN
    RETURN caller_mains() || ARRAY(
        SELECT main_id FROM requests WHERE account_id = ANY (own)
        UNION ALL SELECT main_id FROM requests
            WHERE account_id IS NULL AND customer_number IN (SELECT customer_number FROM accounts WHERE id = ANY (own))
        UNION ALL SELECT id FROM accounts WHERE customer_number = ANY (named_in_transaction('customer_number'))
    );
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
    # For the back office's search: a policy would keep the planner from the indexes of texts.
    "accounts_of_staff": """
SELECT id, customer_number, name, street, postal_code, city, contact_name, contact_email, contact_phone
FROM accounts WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff())""",
    "users_of_staff": """
SELECT id, name, email FROM users WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff())""",
    "number_blocks_of_staff": """
SELECT id, first_number, size, account_id FROM number_blocks
WHERE (SELECT session_user <> 'standorte_front' OR caller_is_staff())""",
}


def upgrade() -> None:
    op.alter_column("users", "is_staff", server_default=sa.false())
    op.execute(NAMED)
    for setting, (name, type, what) in SETTINGS.items():
        value = f"nullif(pg_catalog.current_setting('standorte.{setting}', true), '')::{type}"
        op.execute(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS {type} LANGUAGE sql STABLE"
            f" RETURN coalesce({value}, {_EMPTY[type]})"
        )
        comment = what.replace("'", "''")
        op.execute(f"COMMENT ON FUNCTION {name} IS '{comment}'")
    op.execute(TELL)
    op.execute(NAME)
    for head, body in FUNCTIONS.items():
        op.execute(f"CREATE OR REPLACE FUNCTION {head} {HEAD.format('STABLE')} AS $body${body} $body$")
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    op.execute(
        "DO $$ DECLARE one record; BEGIN"
        " FOR one IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' LOOP"
        " EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', one.tablename);"
        " EXECUTE format('DROP POLICY %I ON %I', one.policyname, one.tablename); END LOOP; END $$"
    )
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW IF EXISTS {name}")
    for head in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS {head.split('(')[0]}")
    for name in ("name_row", "tell_caller", *(name for name, *_ in SETTINGS.values()), "named_in_transaction"):
        op.execute(f"DROP FUNCTION IF EXISTS {name}")
    op.alter_column("users", "is_staff", server_default=None)
