"""The database roles with which the parts of the system connect to PostgreSQL, and the SQL that creates them.

None of them is a superuser. The roles' privileges on tables are in `models.db.privileges`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum

import psycopg
from psycopg import sql

from models.db.advisory_locks import AdvisoryLock
from models.db.connections import TimedConnection


class TablesInUse(Exception):
    """Raised when other programs hold a lock for too long: on tables to give to the owner, or on creating roles.

    The message says what to do; for tables it lists the statements that are left to run.
    """


class DatabaseRole(StrEnum):
    """The database roles with which the parts of the system connect to PostgreSQL. The value is the role's name."""

    OWNER = "standorte_owner"
    """Owns both databases with their tables. Only `standorte migrate` connects as this role."""
    FRONT = "standorte_front"
    WORKER = "standorte_worker"
    """The role of the worker processes and of the console's commands."""
    KAMAILIO = "standorte_kamailio"
    METRICS = "standorte_metrics"
    """For the operators' own tools: can read the states of requests, messages and jobs, and nothing about customers."""


_CREATE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN CREATE ROLE {role}; END IF;
END $$;
ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
"""
_CONNECT = "GRANT CONNECT ON DATABASE {database} TO {connects};"
# Sent as one statement, so that no part is refused in between. Only for a database of the owner: parts of an earlier
# version may still connect as another role to a database of that role.
_CLOSE = "REVOKE ALL ON DATABASE {database} FROM PUBLIC, {others}; GRANT CONNECT ON DATABASE {database} TO {connects}"
_CLOSING = "SELECT {close} FROM pg_database WHERE datname = current_database() AND datdba = '{owner}'::regrole"
# Gives the owner what an earlier version created as another role. Sequences of columns follow their tables; what an
# extension owns stays with it. First the owner is granted all tables, which takes no lock on them; then come functions
# and views, which act as their owner and need the tables; at last the tables.
_OWNERSHIP = """
WITH relations AS (
    SELECT oid::regclass::text AS name, CASE WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
        relkind IN ('v', 'm') AS is_view
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = '{owner}')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                AND deptype IN ('a', 'i', 'e')
        )
), functions AS (
    SELECT oid::regprocedure::text AS name FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner <> (SELECT oid FROM pg_roles WHERE rolname = '{owner}')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        )
), statements AS (
    SELECT 1 AS step, format('GRANT ALL ON %s %s TO {owner}', kind, name) AS statement FROM relations
    UNION ALL SELECT 2, format('ALTER FUNCTION %s OWNER TO {owner}', name) FROM functions
    UNION ALL SELECT 3, format('ALTER TABLE %s OWNER TO {owner}', name) FROM relations WHERE is_view
    UNION ALL SELECT 4, format('ALTER TABLE %s OWNER TO {owner}', name) FROM relations WHERE NOT is_view
)
SELECT statement FROM statements ORDER BY step, statement
"""
# A statement that waits for a table makes all later ones wait behind it.
_PATIENCE = "SET lock_timeout = '3s'"
_TURN = "SET lock_timeout = '60s'"
_TRIES = 10
_PAUSE = 1.0
"""Seconds between two tries to lock tables, so that other transactions that waited for the tables can go on."""
PORTAL_ROLES = (DatabaseRole.FRONT, DatabaseRole.WORKER, DatabaseRole.METRICS)
"""The roles that may connect to the portal's database, beside the owner."""
REGISTRAR_ROLES = (DatabaseRole.FRONT, DatabaseRole.WORKER, DatabaseRole.KAMAILIO)
"""The roles that may connect to the registrar's database, beside the owner."""


def creation_sql() -> str:
    """Return the SQL by which a superuser creates the roles on a server, without passwords. Safe to run twice."""
    return "".join(_CREATE.format(role=role, literal=f"'{role}'") for role in DatabaseRole)


def _in(template: str, database: str, connects: tuple[DatabaseRole, ...]) -> str:
    """Return the SQL in `template` for one database: its placeholders are replaced by names.

    The placeholders are `database`, `owner` (the owner's role), `others` (all other roles) and `connects` (the roles
    that may connect to the database).
    """
    owner = DatabaseRole.OWNER
    return template.format(
        database=sql.Identifier(database).as_string(),
        owner=owner,
        others=", ".join(role for role in DatabaseRole if role is not owner),
        connects=", ".join(connects),
    )


def _closing(database: str, connects: tuple[DatabaseRole, ...]) -> str:
    """Return a query whose result is SQL: the statements that let only the owner and the roles `connects` connect.

    The result has no row if the connected database does not belong to the owner.
    """
    close = sql.Literal(_in(_CLOSE, database, connects)).as_string()
    return _CLOSING.format(close=close, owner=DatabaseRole.OWNER)


def _give(database: str) -> str:
    return f"ALTER DATABASE {sql.Identifier(database).as_string()} OWNER TO {DatabaseRole.OWNER};"


def creation_script(portal: str, registrar: str) -> str:
    """Return a script for psql that creates the roles, and the two databases if they do not exist.

    It also lets the roles connect. `portal` and `registrar` are the names of the databases. A superuser runs the
    script; running it twice is safe. A database that belongs to another role keeps its owner, and nobody loses a
    privilege in it. The script has no passwords: its last lines, which are comments, show the psql commands that set
    them.
    """
    parts = ["\\set ON_ERROR_STOP on", creation_sql()]
    for database, connects in _databases(portal, registrar).items():
        literal, name = sql.Literal(database).as_string(), sql.Identifier(database).as_string()
        create = sql.Literal(f"CREATE DATABASE {name} OWNER {DatabaseRole.OWNER}").as_string()
        missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = {literal})"
        parts += [f"SELECT {create} WHERE {missing} \\gexec", f"\\connect {name}"]
        parts += [_in(_CONNECT, database, connects), _gexec(_closing(database, connects))]
    parts.append("-- A password for each, or another way to sign in that pg_hba.conf knows:")
    parts += [f"-- \\password {role}" for role in DatabaseRole]
    return "\n".join(parts) + "\n"


def hand_over_script(portal: str, registrar: str) -> str:
    """Return a script for psql that gives both databases, with all their tables, to the role of the owner.

    Only the system's roles can connect afterwards. The roles must exist. `portal` and `registrar` are the names of the
    two databases. A superuser runs the script after the one that creates roles and databases; running it twice is safe.
    Each table is given in a transaction of its own that waits three seconds for its lock and is tried again later, so
    that running parts of the system are held up for seconds at most.
    """
    parts = []
    rest = "SELECT statement FROM left_to_do \\gexec"
    pause = f"SELECT pg_sleep({_PAUSE:g}) FROM (SELECT FROM left_to_do LIMIT 1) AS one;"  # noqa: S608
    ownership = _OWNERSHIP.format(owner=DatabaseRole.OWNER).strip()
    for database, connects in _databases(portal, registrar).items():
        parts += ["\\set ON_ERROR_STOP on", f"\\connect {sql.Identifier(database).as_string()}", f"{_PATIENCE};"]
        parts += [_give(database), _gexec(_closing(database, connects))]
        parts += [f"CREATE TEMPORARY VIEW left_to_do AS\n{ownership};"]
        parts += [f"-- Up to {_TRIES} tries: each takes what is left.", "\\set ON_ERROR_STOP off"]
        parts += [rest, pause] * (_TRIES - 1)
        parts += ["\\set ON_ERROR_STOP on", rest]
    return "\n".join(parts) + "\n"


def _gexec(query: str) -> str:
    return f"{query.strip()} \\gexec"


def _databases(portal: str, registrar: str) -> dict[str, tuple[DatabaseRole, ...]]:
    return {portal: PORTAL_ROLES, registrar: REGISTRAR_ROLES}


def create_roles(
    url: str, databases: Mapping[str, tuple[DatabaseRole, ...]], *, hand_over: bool = True, pause: float = _PAUSE
) -> None:
    """Create the roles on a server and let them connect to the databases. Safe to run twice and in parallel.

    `url` is a superuser's, in the form of libpq, to any database of the server. `databases` maps the names of existing
    databases to the roles that may connect. With `hand_over` the databases, with all tables, are given to the owner,
    and no other roles can connect any longer. Each table is given in a transaction of its own, so that running parts of
    the system are held up for seconds at most; `pause` is the time in seconds between two tries for tables that are in
    use.

    Raises `TablesInUse` if tables stayed in use (all other tables of that database then belong to the owner), or if
    another program was creating the roles for a minute. Raises `psycopg.OperationalError` if the server does not
    answer.
    """
    with _connected(url) as connection:
        _take_turns(connection)
        connection.execute(creation_sql().encode())
    for name, connects in databases.items():
        with _connected(url, name) as connection:
            _take_turns(connection)
            connection.execute(_in(_CONNECT, name, connects).encode())
            if hand_over:
                connection.execute(_give(name).encode())
            _run_each(connection, _closing(name, connects))
            if hand_over:
                _give_tables(connection, _OWNERSHIP.format(owner=DatabaseRole.OWNER), pause)


def _connected(url: str, database: str | None = None) -> TimedConnection:
    """Return a connection to the server of `url` that commits each statement, for the caller to close.

    It is open to the database that `url` names, or to `database` if that is given.
    """
    limits = "-c statement_timeout=70s"
    return TimedConnection.within(75, url, autocommit=True, options=limits, dbname=database)


def _take_turns(connection: psycopg.Connection) -> None:
    """Wait until no other connection creates the roles, and make others wait until this connection is closed.

    Later statements wait for a lock as long as `_PATIENCE` says. Raises `TablesInUse` after a minute.
    """
    connection.execute(_TURN)
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (int(AdvisoryLock.ROLES),))
    except psycopg.errors.LockNotAvailable as error:
        raise TablesInUse("another program is creating the roles; run it again when that has ended") from error
    connection.execute(_PATIENCE)


def _run_each(connection: psycopg.Connection, query: str) -> list[str]:
    """Run each statement in the rows that the query returns, in a transaction of its own, and commit it.

    Returns the statements that failed because they got no lock in time.
    """
    late = []
    for (statement,) in connection.execute(query.encode()).fetchall():
        try:
            connection.execute(statement.encode())
        except psycopg.errors.LockNotAvailable:
            late.append(statement)
    return late


def _give_tables(connection: psycopg.Connection, query: str, pause: float) -> None:
    for left in reversed(range(_TRIES)):
        late = _run_each(connection, query)
        if not late:
            return
        if left:
            time.sleep(pause)
    raise TablesInUse(f"in use by others for too long; run it again: {'; '.join(late)}")


def set_password(url: str, role: DatabaseRole, password: str) -> None:
    """Set a role's password; the server gets only the password's hash. `url` is a superuser's, in the form of libpq."""
    with _connected(url) as connection:
        hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))
