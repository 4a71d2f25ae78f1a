"""Tests of row-level security: which rows the web application's role can read and change for each caller.

The statements have no filter, as if a page had forgotten it, or try an attack.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.caller import NOBODY_SIGNED_IN, login_caller, token_caller
from models.db.privileges import READ_BEFORE
from models.db.roles import DatabaseRole
from models.db.row_security import PORTAL, apply_row_security, is_enforced
from models.db.session import Database
from models.people.api_tokens import create_token, token_hash
from models.people.login_sessions import begin_login
from models.people.rights import Role, Scope
from models.people.users import User
from models.schema import metadata
from tests.factories import NOW, ROW_SECURITY, join, make_account, make_main, make_user
from tests.fakes import FakeClock
from tests.snapshots import written_once
from tests.web.conftest import Back, Front, FrontOf
from tests.web.whole_portal import WholePortal, whole_portal
from web.resources import resources
from workers.stack.postgres import EmbeddedPostgres

# The pool's free blocks are nobody's.
_POOL = {"number_blocks": "account_id IS NOT NULL"}
FREE = {table for table, rows in PORTAL.items() if rows.see == "true"}
_OWN_ONLY = {"logins", "second_factors", "recovery_codes", "erasures"}
REFUSED = "42501"
# What the portal's pages do not make.
_FILL = """
INSERT INTO collective_invoices (number, main_id) VALUES ('R' || :main, :main);
INSERT INTO invoice_offers (account_id, main_id, offered_at, expires_at)
    SELECT id, main_id, now(), now() + interval '1 day' FROM accounts WHERE main_id = :main;
INSERT INTO collective_invoice_items (invoice_id, account_id, since)
    SELECT max(id), :main, now() FROM collective_invoices;
INSERT INTO jobs (name, due_at, attempts) VALUES ('proofs', now(), 0) ON CONFLICT DO NOTHING;
INSERT INTO job_runs (name, started_at, counts, found, unrepaired, outcome, dry_run, ended_at)
    VALUES ('proofs', now(), '{}', '{}', 0, 'done', false, now());
INSERT INTO findings (run_id, kind, subject, facts, repaired) SELECT max(id), 'kind', 'x', '{}', false FROM job_runs;
INSERT INTO contract_holders (account_id, name, form, street, postal_code, city, changed_at)
    VALUES (:main, 'Muster', 'other', 'Weg 1', '10179', 'Berlin', now()) ON CONFLICT DO NOTHING;
INSERT INTO number_assignments (block_id, account_id, since, until, holder_name, holder_street, holder_postal_code,
        holder_city, street, postal_code, city)
    SELECT max(id), :main, now() - interval '1 day', now(), 'M', 'Weg 1', '10179', 'Ort', 'Weg 1', '10179', 'Ort'
    FROM number_blocks WHERE account_id IS NOT NULL;
INSERT INTO ownership_proofs (request_id, account_id, method, proved_by, proved_at)
    SELECT requests.id, accounts.id, 'link_code', requested_by, now()
    FROM requests JOIN accounts USING (customer_number)
    WHERE requests.main_id = :main AND kind = 'link' ON CONFLICT DO NOTHING;
INSERT INTO moved_blocks (request_id, block_id)
    SELECT requests.id, number_blocks.id
    FROM requests, number_blocks JOIN accounts ON accounts.id = number_blocks.account_id
    WHERE requests.main_id = :main AND :main IN (accounts.id, accounts.main_id) LIMIT 1;
INSERT INTO own_limits (account_id, letters) VALUES (:main, 5);
INSERT INTO erasures (user_id, asked_at) SELECT min(user_id), now() FROM memberships WHERE account_id = :main;
INSERT INTO factor_resets (user_id, asked_by, proof, asked_at)
    SELECT min(user_id), min(user_id), 'x', now() FROM memberships WHERE account_id = :main;
INSERT INTO recovery_codes (user_id, salt, code_hash, created_at)
    SELECT min(user_id), 'x', sha256('x'), now() FROM memberships WHERE account_id = :main;
INSERT INTO second_factors (id, user_id, kind, name, secret, counter, created_at)
    SELECT gen_random_uuid(), min(user_id), 'app', 'x', 'x', 0, now() FROM memberships WHERE account_id = :main;
INSERT INTO audit_seals SELECT max(id), max(id), now(), sha256('') FROM audit_entries
"""


def fill(connection: sa.Connection, main: int) -> None:
    """Add rows of the main account with the id `main` to the tables that stay empty when only pages are used."""
    for statement in _FILL.split(";"):
        connection.execute(sa.text(statement), {"main": main} if ":main" in statement else {})


@dataclass(frozen=True, slots=True)
class World:
    """A portal with two companies, and callers of the second company, who must not see rows of the first.

    `foreign` has the primary keys of the first company's rows, by table. `callers` has the texts that tell the database
    who a caller is, by a name such as "administrator". `front` is connected as the web application's role. `main` and
    `sub` are ids of the second company's accounts, `other_main` is the id of the first company's main account.
    """

    foreign: Mapping[str, set[str]]
    callers: Mapping[str, str]
    portal: WholePortal
    front: Database
    main: int
    sub: int
    other_main: int


@pytest.fixture
def world(
    request: pytest.FixtureRequest, portal_url: str, postgres: EmbeddedPostgres, superuser: sa.Engine, clock: FakeClock
) -> Iterator[World]:
    """Provide a portal with two companies, and a connection as the web application's role; row-level security is on.

    Afterwards row-level security is as it was before the test.
    """

    def make() -> World:
        front, back = request.getfixturevalue("front"), request.getfixturevalue("back")
        return make_world(front, back, postgres, superuser)

    found = written_once("two companies", [portal_url], make)
    with enforced(postgres):
        yield found
    # Each test has connections of its own.
    found.front.engine.dispose()


def make_world(front: Front, back: Back, postgres: EmbeddedPostgres, superuser: sa.Engine) -> World:
    """Fill the portal with two companies, and connect as the web application's role, outside the application."""
    with superuser.begin() as connection:
        before = {table: rows_of(connection, table) for table in metadata.tables}
    with front.database.transaction() as session:
        main, manager = make_main(session, name="Andere Firma")
    other = Front(front.client.application.test_client(), front.database, main, manager, "")
    other.token = other.token_with(Scope.READ, Scope.WRITE)
    whole_portal(other, back)
    with superuser.begin() as connection:
        fill(connection, main.id)
        # Both companies have what `whole_portal` makes, which is unique.
        connection.exec_driver_sql("UPDATE sip_trunks SET sip_user = 'other' || id")
        connection.exec_driver_sql(
            "UPDATE number_blocks SET first_number = first_number + 1000 WHERE account_id IS NOT NULL"
        )
        foreign = {
            table: rows_of(connection, table, _POOL.get(table, "true")) - before[table] for table in metadata.tables
        }
    portal = whole_portal(front, back)
    callers = {"nobody": NOBODY_SIGNED_IN, "a secret of nobody": login_caller(secrets.token_bytes(32))}
    with front.database.transaction() as session:
        own, sub = session.get_one(Account, front.main.id), session.get_one(Account, portal.site.account.id)
        people = {
            "administrator": session.get_one(User, front.manager.user_id),
            "location manager": make_user(session),
            "local member": make_user(session),
            "administrator of a sub-account": portal.site.administrator,
            "member of a sub-account": portal.site.member,
            "person of another account": make_user(session),
            "person of no account": make_user(session),
            "staff": make_user(session, is_staff=True),
        }
        join(session, people["location manager"], own, Role.LOCATION_MANAGER)
        join(session, people["local member"], own, Role.LOCAL_MEMBER)
        make_account(session, administrator=people["person of another account"])
        for name, user in people.items():
            login, _ = begin_login(session, user, "", "", NOW)
            callers[name] = login_caller(login.secret_hash)
        callers["token"] = token_caller(token_hash(front.token))
        of_sub = create_token(session, sub, people["administrator"], "x", frozenset(Scope), NOW)
        callers["token of an account without its person"] = token_caller(token_hash(of_sub))
    with superuser.begin() as connection:
        fill(connection, front.main.id)
    database = Database(postgres.url("standorte", DatabaseRole.FRONT), pool_size=1)
    return World(foreign, callers, portal, database, front.main.id, portal.site.account.id, other.main.id)


@contextmanager
def enforced(postgres: EmbeddedPostgres, *, on: bool = True) -> Iterator[None]:
    """Switch row-level security on, or with `on=False` off, during the `with` block."""
    with closing(Database(postgres.url("standorte", DatabaseRole.OWNER))) as owner:
        assert on is ROW_SECURITY or apply_row_security(owner, on=on) is on
        assert is_enforced(owner) is on
        try:
            yield
        finally:
            if on is not ROW_SECURITY:
                apply_row_security(owner, on=ROW_SECURITY)


def rows_of(connection: sa.Connection, table: str, where: str = "true") -> set[str]:
    """Return the primary key, as text, of every row of the table that `connection` sees.

    `where` is an SQL condition that the rows must fulfil.
    """
    key = ", ".join(column.name for column in metadata.tables[table].primary_key)
    return set(connection.execute(sa.text(f"SELECT ROW({key})::text FROM {table} WHERE {where}")).scalars())


def seen_by(world: World, caller: str) -> dict[str, set[str]]:
    """Return the primary keys of all rows that the web application's role sees for this caller, by table.

    `caller` is the text that tells the database who the caller is. The statements have no filter.
    """
    with world.front.engine.begin() as connection:
        connection.execute(sa.text("SELECT set_config('standorte.caller', :caller, true)"), {"caller": caller})
        readable = "SELECT table_name FROM information_schema.column_privileges WHERE privilege_type = 'SELECT'"
        tables = set(connection.scalars(sa.text(f"{readable} AND grantee = session_user"))) & set(metadata.tables)
        return {table: rows_of(connection, table) for table in tables}


def test_every_table_says_which_rows_the_front_sees(postgres: EmbeddedPostgres) -> None:
    assert set(PORTAL) == {*metadata.tables, "alembic_version"}
    assert all(rows.why for rows in PORTAL.values() if rows.see == "true")
    owner = closing(Database(postgres.url("standorte")))
    with enforced(postgres), owner as database, database.engine.connect() as connection:
        unprotected = (
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        assert connection.scalars(sa.text(f"{unprotected} AND NOT relrowsecurity")).all() == []
        policies = connection.execute(
            sa.text("SELECT tablename, array_agg(policyname ORDER BY policyname) FROM pg_policies GROUP BY 1")
        )
        names = ["front_adds", "front_changes", "front_deletes", "front_sees", "others"]
        assert {table: list(found) for table, found in policies} == dict.fromkeys(PORTAL, names)


def test_a_statement_without_a_filter_meets_no_foreign_row(world: World) -> None:
    empty = {table for table, rows in world.foreign.items() if not rows}
    assert empty <= FREE | {"block_announcements"}, "the other company must have something of everything"
    for name, caller in world.callers.items():
        seen = seen_by(world, caller)
        if name == "staff":
            # What is behind the logins of others not even the staff sees.
            assert {table for table in seen if not world.foreign[table] <= seen[table]} == _OWN_ONLY
            continue
        met = {table: seen[table] & world.foreign[table] for table in seen if table not in FREE}
        assert {table: rows for table, rows in met.items() if rows} == {}, name
    for name in ("nobody", "a secret of nobody", "token of an account without its person"):
        seen = seen_by(world, world.callers[name])
        assert {table for table, rows in seen.items() if rows} - FREE <= {"number_blocks", "users", "api_tokens"}, name
    everything = seen_by(world, world.callers["administrator"])
    unseen = {table for table, rows in everything.items() if not rows}
    assert unseen <= FREE | {"findings", "link_codes"}, "the administrator sees their own company"


def test_within_a_company_each_sees_their_own_accounts(world: World) -> None:
    expected = {
        "administrator of a sub-account": {world.sub},
        "member of a sub-account": {world.sub},
        "local member": {world.main},
    }
    for name, accounts in expected.items():
        with world.front.engine.begin() as connection:
            connection.execute(_CALLER, {"caller": world.callers[name]})
            for table, columns in _OWNERS.items():
                owned = " OR ".join(f"coalesce({column} = ANY (:own), false)" for column in columns)
                row = "to_jsonb(id)" if table in READ_BEFORE else f"to_jsonb({table})"
                query = sa.text(f"SELECT {row} FROM {table} WHERE NOT ({owned}) AND {_POOL.get(table, 'true')}")
                others = connection.scalars(query, {"own": list(accounts)}).all()
                if table == "accounts":
                    # Name and number of the main account.
                    others = [row for row in others if row["id"] != world.main]
                if table == "collective_invoices":
                    # The number of the main account's invoice, which the account is on or is offered.
                    others = [row for row in others if row["main_id"] != world.main]
                if table == "memberships":
                    others = [
                        row for row in others if (row["account_id"], row["role"]) != (world.main, "administrator")
                    ]
                assert others == [], (name, table)


_CALLER = sa.text("SELECT set_config('standorte.caller', :caller, true)")
_OWNERS = {
    table.name: [column for column in ("account_id", "main_id", "through_id") if column in table.columns]
    or (["id"] if table.name == "accounts" else [])
    for table in metadata.tables.values()
    if {"account_id", "main_id"} & set(table.columns.keys())
}
_OWNERS["accounts"] = ["id"]
# Belong to the request; the account is the one that is asked for, or its present main account, as a number alone.
del _OWNERS["ownership_proofs"], _OWNERS["main_consents"]


def test_a_customer_number_that_is_taken_is_passed_over(world: World) -> None:
    with world.front.engine.begin() as connection:
        connection.execute(_CALLER, {"caller": world.callers["administrator"]})
        taken = "SELECT number FROM customer_numbers ON CONFLICT DO NOTHING RETURNING number"
        assert connection.scalars(sa.text(f"INSERT INTO customer_numbers {taken}")).all() == []


def test_a_caller_ends_with_the_transaction(world: World) -> None:
    # One connection, as PgBouncer hands it from one client to the next in transaction mode.
    engine = world.front.engine
    with engine.begin() as connection:
        connection.execute(_CALLER, {"caller": world.callers["administrator"]})
        connection.execute(sa.text("SELECT set_config('standorte.email', 'kim@example.com', true)"))
        process = connection.scalar(sa.text("SELECT pg_backend_pid() FROM accounts LIMIT 1"))
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) == process
        settings = "SELECT current_setting('standorte.caller', true), current_setting('standorte.email', true)"
        assert set(connection.execute(sa.text(settings)).one()) <= {None, ""}
        assert rows_of(connection, "accounts") == set()
        assert connection.scalar(sa.text("SELECT count(*) FROM users")) == 0


ATTACKS = {
    "a new member of staff": "INSERT INTO users (email, name, locale, is_staff, created_at)"
    " VALUES ('eve@example.com', 'Eve', 'de', true, now())",
    "a person without an invitation": "INSERT INTO users (email, name, locale, created_at)"
    " VALUES ('eve@example.com', 'Eve', 'de', now())",
    "a role in a foreign account": "INSERT INTO memberships VALUES (caller_id(), :other, 'administrator')",
    "a role in a sub-account, without an invitation": "INSERT INTO memberships"
    " VALUES (caller_id(), :sub, 'administrator')",
    "a higher role": "UPDATE memberships SET role = 'administrator' WHERE user_id = caller_id() RETURNING 1",
    "a foreign password": "UPDATE users SET password_hash = '' WHERE id <> caller_id() RETURNING 1",
    "a login of somebody else": "INSERT INTO logins (user_id, secret_hash, user_agent, address, created_at, seen_at)"
    " SELECT max(id), sha256('x'), '', '', now(), now() FROM users WHERE id <> caller_id()",
    "a token of somebody else": "INSERT INTO api_tokens (account_id, user_id, name, token_hash, scopes, created_at)"
    " SELECT :main, max(id), '', sha256('x'), '{read}', now() FROM users WHERE id <> caller_id()",
    "a token of a foreign account": "INSERT INTO api_tokens (account_id, user_id, name, token_hash, scopes, created_at)"
    " VALUES (:other, caller_id(), '', sha256('x'), '{read}', now())",
    "the sub-accounts of others": "UPDATE accounts SET main_id = :main WHERE main_id <> :main RETURNING 1",
    "an own account given away": "UPDATE accounts SET main_id = :other WHERE id = :sub",
    "a foreign address": "UPDATE accounts SET contact_email = 'eve@example.com' WHERE id = :other RETURNING 1",
    "a foreign trunk": "UPDATE sip_trunks SET account_id = :main",
    "the secrets of foreign trunks": "UPDATE sip_trunks SET secret = '' WHERE account_id NOT IN (SELECT id FROM"
    " reached_accounts) RETURNING 1",
    "a number out of the pool": "UPDATE number_blocks SET account_id = :main WHERE account_id IS NULL RETURNING 1",
    "an own number given away": "UPDATE number_blocks SET account_id = :other WHERE account_id = :sub",
    "a number's own digits": "UPDATE number_blocks SET first_number = 1",
    "a foreign request": "UPDATE requests SET status = 'completed' WHERE main_id = :other RETURNING 1",
    "a request taken over": "UPDATE requests SET main_id = :main",
    "a request in a foreign name": "INSERT INTO requests"
    " (kind, status, step, main_id, account_id, customer_number, locale, created_at, updated_at, due_at, attempts)"
    " SELECT 'detach', 'acknowledged', 'verify', :other, :sub, '1234567', 'de', now(), now(), now(), 0",
    "a deed of somebody else": "INSERT INTO audit_entries (account_id, user_id, by_staff, deed, facts, at)"
    " SELECT :main, max(id), false, 'account_closed', '{}', now() FROM users WHERE id <> caller_id()",
    "a deed of the staff": "INSERT INTO audit_entries (account_id, user_id, by_staff, deed, facts, at)"
    " VALUES (:main, caller_id(), true, 'account_closed', '{}', now())",
    "the secrets of others' logins": "SELECT 1 FROM logins WHERE user_id <> caller_id()",
    "row security off": "ALTER TABLE accounts DISABLE ROW LEVEL SECURITY",
    "another caller's account": "SELECT 1 FROM accounts WHERE id = :other",
}


def test_what_a_location_manager_cannot_write_with_statements_of_their_own(world: World) -> None:
    assert succeeding(world, "location manager", ATTACKS) == []


def succeeding(world: World, who: str, statements: Mapping[str, str]) -> list[str]:
    """Return the names of those statements that do something for this caller. Each is taken back."""
    done = []
    for name, statement in statements.items():
        with world.front.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(_CALLER, {"caller": world.callers[who]})
            values = {"main": world.main, "sub": world.sub, "other": world.other_main}
            used = {key: value for key, value in values.items() if f":{key}" in statement}
            try:
                if connection.execute(sa.text(statement), used).all():
                    done.append(name)
            except sa.exc.ResourceClosedError:
                done.append(name)
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != REFUSED:
                    raise
            transaction.rollback()
    return done


DECISIONS = {
    "the consent of a main account that is asked": "UPDATE main_consents SET decision = 'accepted',"
    " decided_by = caller_id(), decided_at = now() WHERE main_id <> :main RETURNING 1",
    "the consent of the account that is asked": "UPDATE consents SET decision = 'accepted', decided_by = caller_id(),"
    " decided_at = now() WHERE request_id IN (SELECT id FROM requests WHERE main_id = :main) RETURNING 1",
    "a document for the staff": "UPDATE address_documents SET released = true, decided_by = caller_id(),"
    " decided_at = now() RETURNING 1",
    "an approval in another's name": "UPDATE requests SET approved = true, approval_at = now(), approval_by = ("
    "SELECT min(user_id) FROM memberships WHERE account_id = :main AND role = 'administrator'"
    " AND user_id <> caller_id()) WHERE approval_until IS NOT NULL AND requested_by <> caller_id() RETURNING 1",
    "a revoked token": "UPDATE api_tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL RETURNING 1",
}
"""Statements with which somebody would decide what others have to: for every caller of a company."""
OF_ADMINISTRATORS = {
    "the second factor of all": "UPDATE accounts SET factor_required_from = now() WHERE id = :main RETURNING 1",
    "the sum above which others approve": "UPDATE accounts SET approval_from_cents = 1 WHERE id = :main RETURNING 1",
}


@pytest.fixture
def revoked(world: World, superuser: sa.Engine) -> None:
    """Revoke a token of the world's company, which nobody can undo."""
    with superuser.begin() as connection:
        token = sa.text("UPDATE api_tokens SET revoked_at = now() WHERE id = (SELECT max(id) FROM api_tokens WHERE"
                        " account_id = :main AND revoked_at IS NULL)")  # fmt: skip
        connection.execute(token, {"main": world.sub})


@pytest.mark.parametrize("who", ["administrator", "location manager", "local member", "token"])
@pytest.mark.usefixtures("revoked")
def test_nobody_decides_what_others_have_to(world: World, who: str) -> None:
    statements = DECISIONS if who in ("administrator", "token") else DECISIONS | OF_ADMINISTRATORS
    assert succeeding(world, who, statements) == []


@pytest.mark.usefixtures("revoked")
def test_only_the_triggers_stand_between_people_and_decisions_of_others(world: World, superuser: sa.Engine) -> None:
    # Otherwise the test above would find nothing because there is nothing.
    tables = ("main_consents", "consents", "address_documents", "requests", "api_tokens", "accounts")
    with superuser.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    try:
        of_others = succeeding(world, "location manager", DECISIONS | OF_ADMINISTRATORS)
        tokens = succeeding(world, "administrator", {"a revoked token": DECISIONS["a revoked token"]})
    finally:
        with superuser.begin() as connection:
            for table in tables:
                connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    assert {*of_others, *tokens} == {*DECISIONS, *OF_ADMINISTRATORS}


def test_a_page_that_forgets_its_filter_shows_nothing_foreign(front_of: FrontOf, world: World) -> None:
    app, front = front_of().application, world.portal.front

    def forgetful() -> list[int]:
        with app.app_context(), resources().database.transaction() as session:
            return sorted(session.scalars(sa.select(Account.id)))

    with app.test_request_context("/"):
        assert forgetful() == []
    with app.test_request_context("/api/v1/accounts", headers={"Authorization": f"Bearer {front.token}"}):
        assert {world.main, world.sub} <= set(forgetful())
        assert world.other_main not in forgetful()
