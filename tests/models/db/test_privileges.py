"""Tests of the database's roles: each has exactly the privileges of `models.db.privileges`, and none is a superuser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest

from models.db.privileges import (
    PORTAL,
    PORTAL_VIEWS,
    READ_BEFORE,
    REGISTRAR,
    Privileges,
    apply_privileges,
    grant_privileges,
)
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.schema import metadata
from workers.stack.postgres import EmbeddedPostgres

ROLES = [role for role in DatabaseRole if role is not DatabaseRole.OWNER]
FORBIDDEN = "42501"
DATABASES = {"standorte": {**PORTAL, **PORTAL_VIEWS}, "registrar": REGISTRAR}
# Privileges on the whole table, and those on columns where the table's own are missing.
_GRANTED = """
SELECT relation.relname, given.privilege_type, NULL FROM pg_class AS relation, aclexplode(relation.relacl) AS given
WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'v')
    AND given.grantee = %(role)s::regrole
UNION ALL
SELECT relation.relname, given.privilege_type, attname
FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid, aclexplode(attacl) AS given
WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'v')
    AND given.grantee = %(role)s::regrole
"""


def connect(postgres: EmbeddedPostgres, database: str, role: DatabaseRole | None = None) -> psycopg.Connection:
    """Connect to the database with this name as the role; None connects as the superuser."""
    url = postgres.url(database, driver="") if role is None else postgres.url(database, role, driver="")
    return psycopg.connect(url, autocommit=True)


@contextmanager
def refused() -> Iterator[None]:
    """Expect that PostgreSQL refuses the statements of the `with` block because a privilege is missing."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert "permission denied" in str(caught.value) or getattr(caught.value, "sqlstate", None) == FORBIDDEN


def wanted(role: DatabaseRole, tables: Mapping[str, Privileges]) -> set[tuple[str, str, str | None]]:
    """Return the privileges that the role should have, as tuples of table, privilege and column.

    `tables` has the privileges of each table by its name. The column is None if a privilege holds for the whole table.
    """
    found: set[tuple[str, str, str | None]] = set()
    for table, privileges in tables.items():
        for part in privileges.of(role).replace(")", "").split(", ") if privileges.of(role) else []:
            match part.split(" ("):
                case [word, column]:
                    kind = word
                    found.add((table, kind, column))
                case [word] if word.isupper():
                    found.add((table, word, None))
                case [column]:
                    found.add((table, kind, column))
    return found


def test_every_table_says_who_may_do_what(postgres: EmbeddedPostgres) -> None:
    assert set(PORTAL) == {*metadata.tables, "alembic_version"}
    for name, tables in DATABASES.items():
        with connect(postgres, name) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
            )
            assert {table for (table,) in found} == set(tables)


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_what_the_list_says_and_nothing_else(
    postgres: EmbeddedPostgres, name: str, role: DatabaseRole
) -> None:
    with connect(postgres, name) as connection:
        granted = set(connection.execute(_GRANTED, {"role": role}))
    assert granted == wanted(role, DATABASES[name])


def test_nobody_is_mighty_and_nothing_is_granted_to_everybody(postgres: EmbeddedPostgres) -> None:
    with connect(postgres, "standorte") as connection:
        mighty = "SELECT rolname FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
        assert connection.execute(mighty).fetchall() == [("standorte",)]
        members = (
            "SELECT 1 FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member WHERE rolname LIKE 'standorte\\_%'"
        )
        assert connection.execute(members).fetchall() == []
    for name in DATABASES:
        with connect(postgres, name) as connection:
            everybody = (
                "SELECT 1 FROM pg_class, aclexplode(relacl) WHERE grantee = 0 AND relnamespace = 'public'::regnamespace"
            )
            assert connection.execute(everybody).fetchall() == []
            owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(owners).fetchall() == [(DatabaseRole.OWNER,)]


@pytest.mark.parametrize(("name", "role"), [("standorte", DatabaseRole.KAMAILIO), ("registrar", DatabaseRole.METRICS)])
def test_a_role_reaches_no_database_that_it_does_not_need(
    postgres: EmbeddedPostgres, name: str, role: DatabaseRole
) -> None:
    with refused():
        connect(postgres, name, role)


@pytest.mark.parametrize("role", [DatabaseRole.FRONT, DatabaseRole.WORKER])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET deed = deed",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "UPDATE audit_seals SET hash = hash",
        "DELETE FROM audit_seals",
        "INSERT INTO audit_entries (id, account_id, by_staff, deed, facts, at) OVERRIDING SYSTEM VALUE "
        "VALUES (7, 1, true, 'account_closed', '{}', now())",
        "SELECT setval(pg_get_serial_sequence('audit_entries', 'id'), 7)",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COPY users TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "UPDATE alembic_version SET version_num = version_num",
        "UPDATE users SET is_staff = true",
        "SET ROLE standorte_owner",
    ],
)
def test_what_an_injected_statement_cannot_do(postgres: EmbeddedPostgres, role: DatabaseRole, statement: str) -> None:
    with connect(postgres, "standorte", role) as connection, refused():
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit_seals VALUES (1, 1, now(), '')",
        "SELECT FROM audit_seals",
        "UPDATE products SET orderable = true",
        "UPDATE product_prices SET monthly_cents = 0",
        "UPDATE users SET disabled_at = NULL",
        "DELETE FROM accounts",
        "UPDATE contracts SET started_at = now()",
        "INSERT INTO users (email, name, locale, is_staff, created_at) VALUES ('e', 'E', 'de', true, now())",
        "UPDATE accounts SET main_id = 1",
        "UPDATE accounts SET name = ''",
        "UPDATE sip_trunks SET account_id = 1",
        "UPDATE sip_trunks SET channels = 30",
        "UPDATE number_blocks SET first_number = 1",
        "UPDATE requests SET main_id = 1",
        "UPDATE requests SET price_lines = NULL",
        "UPDATE memberships SET account_id = 1",
        "INSERT INTO findings SELECT FROM findings",
        "DELETE FROM messages",
        "UPDATE second_factors SET secret = secret",
        "UPDATE second_factors SET user_id = 1",
        "UPDATE recovery_codes SET code_hash = code_hash",
    ],
)
def test_what_the_front_cannot_do(postgres: EmbeddedPostgres, statement: str) -> None:
    with connect(postgres, "standorte", DatabaseRole.FRONT) as connection, refused():
        connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["subscriber", "usr_preferences", "dbaliases", "own_numbers"])
def test_the_front_reads_no_secret_of_the_registrar(postgres: EmbeddedPostgres, table: str) -> None:
    with connect(postgres, "registrar", DatabaseRole.FRONT) as connection, refused():
        connection.execute(f"SELECT FROM {table}".encode())


@pytest.mark.parametrize("table", ["subscriber", "usr_preferences", "dbaliases", "own_numbers"])
def test_kamailio_changes_no_trunk(postgres: EmbeddedPostgres, table: str) -> None:
    with connect(postgres, "registrar", DatabaseRole.KAMAILIO) as connection, refused():
        connection.execute(f"DELETE FROM {table}".encode())


@pytest.mark.parametrize(
    "statement", ["SELECT id FROM requests", "SELECT recipient_address FROM messages", "SELECT FROM users"]
)
def test_the_role_for_metrics_reads_nothing_about_customers(postgres: EmbeddedPostgres, statement: str) -> None:
    with connect(postgres, "standorte", DatabaseRole.METRICS) as connection, refused():
        connection.execute(statement.encode())


def test_what_was_granted_by_hand_is_taken_away(postgres: EmbeddedPostgres) -> None:
    with connect(postgres, "registrar", DatabaseRole.OWNER) as connection:
        connection.execute(f"GRANT UPDATE (ha1), DELETE ON subscriber TO {DatabaseRole.FRONT}".encode())
        connection.execute(f"GRANT ALL ON SEQUENCE location_id_seq TO {DatabaseRole.FRONT}".encode())
        for _ in range(2):
            apply_privileges(connection, REGISTRAR)
        assert set(connection.execute(_GRANTED, {"role": DatabaseRole.FRONT})) == wanted(DatabaseRole.FRONT, REGISTRAR)
    with connect(postgres, "registrar", DatabaseRole.FRONT) as connection, refused():
        connection.execute("SELECT nextval('location_id_seq')")


def test_what_belongs_to_others_is_no_hindrance(postgres: EmbeddedPostgres) -> None:
    # As an extension installs it (pg_buffercache, postgis), or postgres_fdw.
    with connect(postgres, "standorte") as connection:
        connection.execute("CREATE VIEW of_a_superuser AS SELECT 1 AS one")
        connection.execute(f"GRANT SELECT ON of_a_superuser TO {DatabaseRole.METRICS}".encode())
        connection.execute("CREATE SEQUENCE another_of_a_superuser")
    try:
        with closing(Database(postgres.url("standorte", DatabaseRole.OWNER))) as database:
            grant_privileges(database)
        with connect(postgres, "standorte", DatabaseRole.METRICS) as connection:
            assert connection.execute("SELECT one FROM of_a_superuser").fetchall() == [(1,)]
    finally:
        with connect(postgres, "standorte") as connection:
            connection.execute("DROP VIEW of_a_superuser")
            connection.execute("DROP SEQUENCE another_of_a_superuser")


def test_two_machines_that_migrate_at_once_both_succeed(postgres: EmbeddedPostgres) -> None:
    def grant(_: int) -> None:
        with closing(Database(postgres.url("standorte", DatabaseRole.OWNER))) as database:
            grant_privileges(database)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(grant, range(8))) == [None] * 8


def test_fronts_of_the_version_before_read_hashes_until_row_security_is_switched_on(postgres: EmbeddedPostgres) -> None:
    with connect(postgres, "standorte") as connection:
        for table in READ_BEFORE:
            connection.execute(f"GRANT ALL ON {table} TO {DatabaseRole.FRONT}".encode())
    with closing(Database(postgres.url("standorte", DatabaseRole.OWNER))) as database:
        for _ in range(2):
            grant_privileges(database)
            with connect(postgres, "standorte", DatabaseRole.FRONT) as connection:
                connection.execute("SELECT * FROM logins, api_tokens")
                with refused():
                    connection.execute("UPDATE logins SET secret_hash = secret_hash")
        grant_privileges(database, keep=False)
        for _ in range(2):
            with connect(postgres, "standorte", DatabaseRole.FRONT) as connection:
                for table, column in READ_BEFORE.items():
                    with refused():
                        connection.execute(f"SELECT {column} FROM {table}".encode())
            grant_privileges(database)
