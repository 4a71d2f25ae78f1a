"""The privileges of each database role on each table and view; this is the only place that defines them.

`standorte migrate` grants them. A table that this module does not list can be used by its owner only, and a test fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

import psycopg
import sqlalchemy as sa
from psycopg import sql

from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.roles import DatabaseRole
from models.db.session import Database

READ = "SELECT"
ADD = "SELECT, INSERT"
WRITE = "SELECT, INSERT, UPDATE"
ALL = "SELECT, INSERT, UPDATE, DELETE"
_USER = "SELECT, INSERT, UPDATE (email_confirmed_at, password_hash)"
# Who is erased loses name and address; the console shuts people out.
_USER_OF_WORKER = "SELECT, INSERT, UPDATE (email_confirmed_at, password_hash, name, email, disabled_at, links_void_at)"
# Without what a request is about and to whom it belongs: no page changes that.
_QUEUED = "due_at, lease, attempts"
_ON_REQUEST = (
    "status, step, reason, waiting_for, waiting_until, updated_at, ended_at, approved, approval_by, approval_at,"
    f" approval_note, {_QUEUED}"
)
_ON_ACCOUNT = "state, contact_email, factor_required_from, approval_from_cents, tags"
_ON_TRUNK = (
    "secret, request_uri, countries, high_risk, state, customer_suspended_at, carrier_suspended_at, carrier_reason,"
    f" {_QUEUED}"
)
# Without is_staff: the front makes nobody staff.
_NEW_USER = "email, email_confirmed_at, name, password_hash, locale, created_at"
# Without the hashes: who could read them could tell the database to be anybody (`models.db.caller`).
_LOGIN = "id, user_id, user_agent, address, created_at, seen_at, factor_at"
_USE_OF_KEY = "revoked_at, last_used_at, last_used_address"
_TOKEN = f"id, account_id, user_id, name, scopes, created_at, expires_at, {_USE_OF_KEY}"
# Without the request and the account that is asked.
_ANSWER = (
    "decision, decided_by, decided_at, moved_at, costs_from, unreached_since, issue, sent_issue, asked_at, expires_at,"
    " wrong_tries, reminders, resent, salt"
)
_AUDIT_ENTRY = "account_id, user_id, through_id, by_staff, deed, facts, at"


@dataclass(frozen=True, slots=True)
class Privileges:
    """The privileges of each role on one table, as GRANT lists them: "SELECT, INSERT"; empty for none.

    The owner has all privileges.
    """

    front: str = ""
    worker: str = ""
    kamailio: str = ""
    metrics: str = ""

    def of(self, role: DatabaseRole) -> str:
        """Return the privileges of a role, as GRANT lists them. Raises `KeyError` for the owner."""
        return {
            DatabaseRole.FRONT: self.front,
            DatabaseRole.WORKER: self.worker,
            DatabaseRole.KAMAILIO: self.kamailio,
            DatabaseRole.METRICS: self.metrics,
        }[role]


PORTAL: Mapping[str, Privileges] = {
    # The worker's role is the console's, too.
    "accounts": Privileges(f"SELECT, INSERT, UPDATE ({_ON_ACCOUNT})", WRITE),
    "address_documents": Privileges(WRITE, ALL),
    "address_proofs": Privileges(WRITE, ALL),
    "alembic_version": Privileges(READ, READ, metrics=READ),
    "api_tokens": Privileges(f"SELECT ({_TOKEN}), INSERT, UPDATE ({_USE_OF_KEY})", WRITE),
    # Loaded by `standorte migrate`, as the products are.
    "area_codes": Privileges(READ, READ),
    "attempt_counts": Privileges(ALL, "SELECT, UPDATE, DELETE"),
    # Without the id, which the sequence sets: nobody puts an entry between two older ones.
    "audit_entries": Privileges(f"SELECT, INSERT ({_AUDIT_ENTRY})", f"SELECT, INSERT ({_AUDIT_ENTRY})"),
    "audit_seals": Privileges("", ADD),
    "block_announcements": Privileges("", ALL),
    "bulk_rows": Privileges(ALL, WRITE),
    "bulks": Privileges(ALL, ALL),
    "call_forwardings": Privileges(ALL, ALL),
    "collective_invoice_items": Privileges("SELECT, INSERT, UPDATE (left_at, stays_linked)", ALL),
    "collective_invoices": Privileges(ADD, ALL),
    "consents": Privileges(WRITE, ALL),
    "contract_holders": Privileges(WRITE, ALL),
    "contract_items": Privileges("SELECT, UPDATE (ended_at)", WRITE),
    "contracts": Privileges("SELECT, UPDATE (ended_at)", WRITE),
    "customer_numbers": Privileges(ADD, ADD),
    "daily_uses": Privileges(WRITE, ALL),
    "directory_entries": Privileges(WRITE, ALL),
    "email_proofs": Privileges(WRITE, ALL),
    "erasures": Privileges(ADD, WRITE),
    "factor_resets": Privileges("SELECT, INSERT, DELETE", "SELECT, UPDATE, DELETE"),
    "findings": Privileges(READ, ADD),
    "high_risk_prefixes": Privileges(READ, ALL),
    "idempotency_keys": Privileges(ALL, "SELECT, UPDATE, DELETE"),
    "invitations": Privileges(ALL, ALL),
    "invoice_offers": Privileges("SELECT, INSERT, UPDATE (expires_at), DELETE", ALL),
    "invited_people": Privileges(WRITE, ALL),
    "job_heartbeats": Privileges(READ, WRITE, metrics=READ),
    "job_runs": Privileges(READ, ALL, metrics=READ),
    "jobs": Privileges(WRITE, WRITE, metrics=READ),
    "known_places": Privileges(WRITE, WRITE),
    "link_codes": Privileges(WRITE, ALL),
    "logins": Privileges(f"SELECT ({_LOGIN}), INSERT, UPDATE (seen_at, factor_at), DELETE", ALL),
    "memberships": Privileges("SELECT, INSERT, UPDATE (role), DELETE", ALL),
    "main_consents": Privileges(f"SELECT, UPDATE ({_ANSWER})", ALL),
    "messages": Privileges(ADD, ALL, metrics="SELECT (state)"),
    # A replacement is reserved by workers; the front gives it up.
    "moved_blocks": Privileges("SELECT, INSERT, UPDATE (replacement_id)", ALL),
    "number_assignments": Privileges(WRITE, ALL),
    "number_blocks": Privileges("SELECT, UPDATE (account_id, trunk_id, available_from)", WRITE),
    "order_drafts": Privileges(ALL, "SELECT, UPDATE, DELETE"),
    "outages": Privileges(READ, ALL, metrics=READ),
    # A limit is raised at the carrier's console.
    "own_limits": Privileges(READ, WRITE),
    "ownership_proofs": Privileges(WRITE, ALL),
    # The console sets prices.
    "product_prices": Privileges(READ, WRITE),
    "products": Privileges(READ, READ),
    # The console resets what a person has lost.
    "recovery_codes": Privileges("SELECT, INSERT, UPDATE (used_at), DELETE", "SELECT, DELETE"),
    "requests": Privileges(f"SELECT, INSERT, UPDATE ({_ON_REQUEST})", ALL, metrics="SELECT (status, step, due_at)"),
    "second_factors": Privileges("SELECT, INSERT, UPDATE (counter, last_used_at), DELETE", "SELECT, DELETE"),
    "sip_trunks": Privileges(f"SELECT, UPDATE ({_ON_TRUNK})", WRITE),
    "timeline_entries": Privileges(ADD, f"{ADD}, DELETE"),
    # Nobody is made staff later on.
    "users": Privileges(_USER.replace("INSERT", f"INSERT ({_NEW_USER})"), _USER_OF_WORKER),
}
"""The privileges of the roles on each table of the portal's database, by table name."""

PORTAL_VIEWS: Mapping[str, Privileges] = {
    # What the policies of row-level security ask.
    "joining_accounts": Privileges(READ),
    "opened_invitations": Privileges(READ),
    "reached_accounts": Privileges(READ),
    "reached_requests": Privileges(READ),
    "free_numbers": Privileges(READ, READ, metrics=READ),
    "oldest_of_work": Privileges(READ, READ, metrics=READ),
    "queue_of_messages": Privileges(READ, READ, metrics=READ),
    "queue_of_requests": Privileges(READ, READ, metrics=READ),
    "accounts_of_staff": Privileges(READ, READ),
    "number_blocks_of_staff": Privileges(READ, READ),
    "users_of_staff": Privileges(READ, READ),
}
"""The privileges of the roles on each view of the portal's database, by view name."""

READ_BEFORE: Mapping[str, str] = {"api_tokens": "token_hash", "logins": "secret_hash"}
"""For some tables, the column that fronts of the previous version still read and fronts of this version do not.

The front's role keeps the privilege to read the column, if it has it, until row-level security is switched on (again).
"""

REGISTRAR: Mapping[str, Privileges] = {
    # The front shows why a trunk does not ring; it never reads a secret's hash or a forwarding.
    "calls": Privileges(READ, "SELECT, UPDATE, DELETE", kamailio=ADD),
    "dbaliases": Privileges("", ALL, kamailio=READ),
    "location": Privileges(READ, "SELECT, DELETE", kamailio=ALL),
    "own_numbers": Privileges("", ALL, kamailio=READ),
    "refusals": Privileges(READ, "SELECT, UPDATE, DELETE", kamailio=WRITE),
    "subscriber": Privileges("", ALL, kamailio=READ),
    "usr_preferences": Privileges("", ALL, kamailio=READ),
    "version": Privileges("", "", kamailio=READ),
}
"""The privileges of the roles on each table of the registrar's database, by table name."""

# Identity columns need no privilege on their sequence, unless the id is known before the row is written, as that of an
# ordered account is (`models.orders.reserved_ids`). Kamailio's tables have the older kind.
_SEQUENCES = """
SELECT split_part(pg_get_serial_sequence(quote_ident(table_name), column_name), '.', 2) FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s
    AND (column_default LIKE 'nextval(%%' OR (is_identity = 'YES' AND table_name = 'accounts'))
"""

# Not all in the schema: what an extension or a foreign table brings along belongs to a superuser.
_OURS = """
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, array_agg(relname ORDER BY relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND pg_has_role(relowner, 'USAGE')
GROUP BY 1
"""

_MAY_READ = sa.text(
    "SELECT bool_or(has_column_privilege(oid, CAST(:table AS text), CAST(:name AS text), 'SELECT')) FROM pg_roles"
    " WHERE rolname = :role"
)


def apply_privileges(connection: psycopg.Connection, tables: Mapping[str, Privileges]) -> None:
    """Grant each role that exists on the server its privileges on the tables, and revoke all others.

    `connection` is the owner's, to the database of the `tables`. Tables in it that belong to another owner are left as
    they are. Missing roles are skipped, because an installation may use one role of its own for all parts of the
    system. Safe to run twice; the caller commits.
    """
    for role in existing_roles(connection):
        to = sql.Identifier(role)
        for kind, names in _ours(connection).items():
            statement = sql.SQL("REVOKE ALL ON {} {} FROM {}")
            listed = sql.SQL(", ").join(map(sql.Identifier, names))
            connection.execute(statement.format(sql.SQL(kind), listed, to))
        for table, privileges in tables.items():
            if granted := privileges.of(role):
                statement = sql.SQL("GRANT {} ON {} TO {}")
                connection.execute(statement.format(sql.SQL(granted), sql.Identifier(table), to))
            if "INSERT" in granted:
                for (sequence,) in connection.execute(_SEQUENCES, [table]):
                    statement = sql.SQL("GRANT USAGE ON SEQUENCE {} TO {}")
                    connection.execute(statement.format(sql.Identifier(sequence), to))


def _ours(connection: psycopg.Connection) -> dict[LiteralString, list[str]]:
    """Return the names of all tables, views and sequences that the connected role owns, by GRANT's word for their kind.

    The words are TABLE, for tables and views, and SEQUENCE.
    """
    return dict(connection.execute(_OURS).fetchall())


def existing_roles(connection: psycopg.Connection) -> list[DatabaseRole]:
    """Return those of the system's database roles that exist on the server, without the owner."""
    names = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    return [role for role in DatabaseRole if role is not DatabaseRole.OWNER and role in names]


def grant_privileges(database: Database, *, keep: bool = True) -> None:
    """Grant each existing role its privileges on the tables of the portal's database, and revoke all others.

    `database` connects as the owner of the tables. With `keep` the front's role keeps the privilege to read the columns
    in `READ_BEFORE`, if it has it, because fronts of the previous version may still be running and read them. Safe to
    run twice, and on two machines at the same time.
    """
    with database.engine.begin() as connection:
        take_advisory_lock(connection, AdvisoryLock.ROLES)
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        kept = columns_read_before(connection) if keep else []
        apply_privileges(driver, {**PORTAL, **PORTAL_VIEWS})
        for table in kept:
            connection.exec_driver_sql(f"GRANT SELECT ({READ_BEFORE[table]}) ON {table} TO {DatabaseRole.FRONT}")


def columns_read_before(connection: sa.Connection) -> list[str]:
    """Return the names of the tables of which the front's role may still read the column listed in `READ_BEFORE`.

    `READ_BEFORE` maps tables to columns that only a front of the previous version reads. The result is empty if the
    front's role does not exist.
    """
    return [
        table
        for table, column in READ_BEFORE.items()
        if connection.scalar(_MAY_READ, {"table": table, "name": column, "role": DatabaseRole.FRONT})
    ]
