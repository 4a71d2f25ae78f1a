"""The roles of the database server, one for each part of the system, and the SQL that creates them.

The parts connect as these roles; none is a superuser. What a role may do with which table is in `models.db.privileges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import psycopg
from psycopg import sql

from models.db.advisory_locks import AdvisoryLock


class DatabaseRole(StrEnum):
    """The roles as which the parts of the system connect to their databases. The value is the role's name."""

    OWNER = "standorte_owner"
    """Owns both databases with their tables; only `standorte migrate` connects as it."""
    FRONT = "standorte_front"
    WORKER = "standorte_worker"
    """Workers, and the commands of the console."""
    KAMAILIO = "standorte_kamailio"
    METRICS = "standorte_metrics"
    """For the operators' own tools: reads the states of requests, messages and jobs, and nothing about customers."""


_CREATE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN CREATE ROLE {role}; END IF;
END $$;
ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
"""
_HAND_OVER = """
ALTER DATABASE {database} OWNER TO {owner};
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
REVOKE ALL ON DATABASE {database} FROM {others};
GRANT CONNECT ON DATABASE {database} TO {connects};
"""
# What an earlier version made as a superuser. Sequences of columns follow their tables; what belongs to an extension
# stays with the extension.
_OWNERSHIP = """
DO $$ DECLARE found record; BEGIN
    FOR found IN
        SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
            AND relowner <> {owner_literal}::regrole
            AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                    AND deptype IN ('a', 'i', 'e')
            )
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO {owner}', found.name);
    END LOOP;
    FOR found IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> {owner_literal}::regrole
            AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
            )
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO {owner}', found.name);
    END LOOP;
END $$;
"""
PORTAL_ROLES = (DatabaseRole.FRONT, DatabaseRole.WORKER, DatabaseRole.METRICS)
"""The roles that may connect to the portal's database, beside the owner."""
REGISTRAR_ROLES = (DatabaseRole.FRONT, DatabaseRole.WORKER, DatabaseRole.KAMAILIO)
"""The roles that may connect to the registrar's database, beside the owner."""


def creation_sql() -> str:
    """Return the SQL that creates the roles on a server, without passwords. Safe to run twice; for a superuser."""
    return "".join(_CREATE.format(role=role, literal=f"'{role}'") for role in DatabaseRole)


def ownership_sql(database: str, connects: tuple[DatabaseRole, ...]) -> str:
    """Return the SQL that gives a database, with what is in it, to the owner's role and lets only `connects` connect.

    For a superuser who is connected to that database. Safe to run twice.
    """
    owner = DatabaseRole.OWNER
    quoted = sql.Identifier(database).as_string()
    others = ", ".join(role for role in DatabaseRole if role is not owner)
    hand_over = _HAND_OVER.format(database=quoted, owner=owner, others=others, connects=", ".join(connects))
    return hand_over + _OWNERSHIP.format(owner=owner, owner_literal=f"'{owner}'")


def script(portal: str, registrar: str) -> str:
    """Return a script for psql that creates the roles and the databases of these names, and gives them to the owner.

    For a superuser. Safe to run twice. Passwords are not in it: its last lines ask for them.
    """
    parts = ["\\set ON_ERROR_STOP on", creation_sql()]
    for database, connects in ((portal, PORTAL_ROLES), (registrar, REGISTRAR_ROLES)):
        literal, name = sql.Literal(database).as_string(), sql.Identifier(database).as_string()
        create = sql.Literal(f"CREATE DATABASE {name} OWNER {DatabaseRole.OWNER}").as_string()
        missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = {literal})"
        parts.append(f"SELECT {create} WHERE {missing} \\gexec")
        parts += [f"\\connect {name}", ownership_sql(database, connects)]
    parts.append("-- A password for each, or another way to sign in that pg_hba.conf knows:")
    parts += [f"-- \\password {role}" for role in DatabaseRole]
    return "\n".join(parts) + "\n"


def create_roles(url: str, databases: Mapping[str, tuple[DatabaseRole, ...]]) -> None:
    """Create the roles on a server, and give the databases to the owner's role. Safe to run twice and in parallel.

    `url` is a superuser's, in the form of libpq, to any database of the server. `databases` maps the names of existing
    databases to the roles that may connect.
    """
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (int(AdvisoryLock.ROLES),))
        connection.execute(creation_sql().encode())
    for name, connects in databases.items():
        with psycopg.connect(url, dbname=name) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (int(AdvisoryLock.ROLES),))
            connection.execute(ownership_sql(name, connects).encode())


def set_password(url: str, role: DatabaseRole, password: str) -> None:
    """Set a role's password. The server gets only its hash. `url` is a superuser's, in the form of libpq."""
    with psycopg.connect(url) as connection:
        hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))
