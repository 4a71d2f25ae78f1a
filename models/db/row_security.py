"""The policies of PostgreSQL's row-level security: which rows of each table the web process can see and write.

They are defined only here. If a statement of the web process (role `FRONT`) lacks a filter, it still sees only the rows
of its caller, the person on whose behalf the transaction runs (`models.db.caller`); without a caller it sees no
customer's rows. The conditions use functions and views of the migrations 0037, 0042 and 0055, which run with the
owner's privileges, and functions of 0065, which run with the caller's. `standorte migrate` creates the policies; they
take effect once row-level security is switched on. All other roles see and write every row.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.base import quoted
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.states import ENDED

STAFF = "(SELECT caller_is_staff())"
"""SQL condition: the caller of the transaction is signed in as one of the carrier's staff."""
_OWN = "ANY ((SELECT caller_accounts())::bigint[])"
_LED = "ANY ((SELECT caller_leads())::bigint[])"
_ADMINISTERED = "ANY ((SELECT caller_administers())::bigint[])"
_MAINS = "ANY ((SELECT caller_mains())::bigint[])"
_TEAM = "ANY ((SELECT caller_team())::bigint[])"
_PEOPLE = "ANY ((SELECT caller_people())::bigint[])"
_TYPED = "ANY ((SELECT caller_typed())::bigint[])"
_ORDERERS = "ANY ((SELECT caller_orderers())::bigint[])"
_RUNS = f"requests.status NOT IN ({quoted(*sorted(ENDED))})"
_RESERVED_BY_REQUEST = f"EXISTS (SELECT FROM requests WHERE requests.reserved_block_id = number_blocks.id AND {_RUNS})"
_RESERVED_BY_MOVE = (
    "EXISTS (SELECT FROM moved_blocks AS one JOIN requests ON requests.id = one.request_id"
    f" WHERE one.replacement_id = number_blocks.id AND one.moved_at IS NULL AND {_RUNS})"
)
_ENFORCED = sa.text("SELECT relrowsecurity FROM pg_class WHERE oid = 'accounts'::regclass")
_POLICIES = sa.text("SELECT quote_ident(polname) FROM pg_policy WHERE polrelid = CAST(:name AS regclass)")
# Each policy says in its comment which text all policies of the table were made from.
_STATE = sa.text("""
SELECT relrowsecurity, (
    SELECT jsonb_object_agg(coalesce(mark, ''), many) FROM (
        SELECT obj_description(oid, 'pg_policy') AS mark, count(*) AS many FROM pg_policy
        WHERE polrelid = pg_class.oid GROUP BY 1
    ) AS marks
) FROM pg_class WHERE oid = CAST(:name AS regclass)
""")
_OTHERS = (DatabaseRole.WORKER, DatabaseRole.METRICS, DatabaseRole.OWNER)
# Customers' statements wait behind one that waits.
_PATIENCE = "300ms"
_TRIES = 40
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Rows:
    """The SQL conditions on rows of one table under which the front's role may read and write them.

    `see` is the condition to read a row, `change` to change or delete it (None: the same as `see`), and `add` to insert
    a row (None: the same as `change`). `become` is a condition that a changed row must meet afterwards (None: the same
    as `change`). `why` is the reason for the conditions, empty if obvious.
    """

    see: str
    change: str | None = None
    add: str | None = None
    become: str | None = None
    why: str = ""

    def statements(self, table: str) -> list[str]:
        """Return the CREATE POLICY statements for `table`: four for the front's role, and one for all other roles.

        The four are for reading, inserting, changing and deleting. Other roles see and write every row.
        """
        change = self.change if self.change is not None else self.see
        add = self.add if self.add is not None else change
        become = self.become if self.become is not None else change
        # The owner, too, while not all tables are handed over to it: the functions act as the owner.
        front, others = DatabaseRole.FRONT, ", ".join(_OTHERS)
        return [
            f"CREATE POLICY front_sees ON {table} FOR SELECT TO {front} USING ({self.see})",
            f"CREATE POLICY front_adds ON {table} FOR INSERT TO {front} WITH CHECK ({add})",
            f"CREATE POLICY front_changes ON {table} FOR UPDATE TO {front} USING ({change}) WITH CHECK ({become})",
            f"CREATE POLICY front_deletes ON {table} FOR DELETE TO {front} USING ({change})",
            f"CREATE POLICY others ON {table} TO {others} USING (true) WITH CHECK (true)",
        ]


def _reached(column: str) -> str:
    """Return an SQL condition: the caller has access to the account whose id is in the column.

    Staff have access to every account. Any other caller has access to accounts in which they have a role, and to
    sub-accounts of those that they administer or manage. The test that is true for most rows comes first, so that the
    full set of accounts is only read when needed.
    """
    return f"({column} = {_OWN} OR {STAFF} OR {column} IN (SELECT caller_reaches()))"


def _of_account(table: str, column: str = "account_id", *also: str) -> Rows:
    return Rows(" OR ".join((_reached(f"{table}.{column}"), *also)))


def _of_request(table: str, column: str = "request_id", *also: str) -> Rows:
    """Return conditions for a table whose rows belong to requests: the caller has access to the request, or is staff.

    `column` has the request's id. `also` are further SQL conditions, each of which alone is enough.
    """
    return Rows(" OR ".join((STAFF, f"reaches_request({table}.{column})", *also)))


def _refers(table: str, column: str, of: str) -> str:
    """Return an SQL condition: the column is null, or it has the id of a row of the table `of` that the caller sees.

    For tables of which the front writes one row at a time: the row of `of` is looked up by its id for each.
    """
    # Without OFFSET, PostgreSQL may read the whole table `of`, with its policy, into a hash table.
    return f"({table}.{column} IS NULL OR EXISTS (SELECT FROM {of} WHERE {of}.id = {table}.{column} OFFSET 0))"


def _person(table: str, *columns: str) -> str:
    """Return an SQL condition: each of the columns is null, or has the id of the caller or of a user whom they see."""
    names = [f"{table}.{column}" for column in columns]
    return " AND ".join(f"({name} IS NULL OR {name} = (SELECT caller_id()) OR sees_user({name}))" for name in names)


def _request(table: str, column: str = "request_id") -> str:
    """Return an SQL condition: the column is null, or has the id of a request that the caller has access to.

    A request that the same statement inserts is accepted, too.
    """
    name = f"{table}.{column}"
    return f"({name} IS NULL OR is_request_new({name}) OR {STAFF} OR reaches_request({name}))"


def _and(rows: Rows, *conditions: str) -> Rows:
    """Return `rows` with further SQL conditions, which a row must also meet after it is inserted or changed."""
    change = rows.change if rows.change is not None else rows.see
    both = " AND ".join(conditions)
    return Rows(
        rows.see,
        rows.change,
        add=f"({rows.add if rows.add is not None else change}) AND {both}",
        become=f"({rows.become if rows.become is not None else change}) AND {both}",
        why=rows.why,
    )


def _named(kind: str, type: str = "text") -> str:
    return f"ANY ((SELECT named_in_transaction('{kind}'))::{type}[])"


def _free(why: str) -> Rows:
    """Return conditions that let the front see and write every row, for a table whose rows belong to no account.

    `why` says why this is safe.
    """
    return Rows("true", why=why)


_TELLS_OF_KNOWN = "(NOT facts ? 'user_id' OR EXISTS (SELECT FROM users WHERE users.id = (facts ->> 'user_id')::bigint))"
_NO_CUSTOMER = "says nothing about a customer"
# The role that the opened invitation offers, to the person with its address.
_INVITED = "is_offered(user_id, account_id, role)"

_SEEN_REQUESTS = (
    f"main_id = {_OWN} OR {STAFF} OR knows_request(kind, main_id, account_id, customer_number)"
    " OR (kind = 'switch' AND knows_switch(id, customer_number))"
    f" OR (kind IN ('order', 'move') AND customer_number = {_named('customer_number')})"
)

PORTAL: Mapping[str, Rows] = {
    "accounts": Rows(
        f"id = {_OWN} OR main_id = {_LED} OR {STAFF} OR (state = 'ordered' AND NOT is_account_ordered(id))"
        " OR knows_account(id)",
        f"id = {_OWN} OR main_id = {_LED} OR {STAFF} OR (state <> 'active' AND reaches_account(id))",
        "state = 'ordered' AND main_id IS NULL AND cardinality((SELECT caller_leads())) > 0",
        why="also one that is about to become a sub-account, the one that this transaction has just made for an order,"
        " the main account of an own account, one that asks to attach an own one, and one whose number was typed",
    ),
    "address_documents": _and(
        _of_request("address_documents"), _person("address_documents", "uploaded_by", "decided_by")
    ),
    "address_proofs": _and(_of_account("address_proofs", "main_id"), _person("address_proofs", "proved_by")),
    "alembic_version": _free(_NO_CUSTOMER),
    "api_tokens": Rows(
        f"{_reached('api_tokens.account_id')} OR user_id = {_PEOPLE}",
        f"account_id = {_ADMINISTERED} OR user_id = (SELECT caller_id())",
        f"account_id = {_ADMINISTERED} AND user_id = {_PEOPLE}",
        why="made by an administrator, for themselves; their use is noted",
    ),
    "area_codes": _free(_NO_CUSTOMER),
    "attempt_counts": _free("counts only; of whom, says a hash"),
    "audit_entries": Rows(
        f"account_id = {_OWN} OR {STAFF} OR through_id = {_LED} OR user_id = {_PEOPLE}"
        f" OR (user_id = (SELECT caller_id()) AND {_reached('audit_entries.account_id')})",
        "false",
        f"((user_id = {_PEOPLE} AND NOT by_staff AND (account_id IS NULL OR is_member(user_id, account_id))) OR"
        f" ({STAFF} OR (NOT by_staff AND {_reached('audit_entries.account_id')}))"
        f" AND (user_id = {_PEOPLE} OR user_id = (SELECT caller_id())))"
        " AND (through_id IS NULL OR is_member(user_id, through_id))"
        f" AND {_TELLS_OF_KNOWN}",
        why="of a sub-account's log only what its main account's people did; and the caller's own deeds. An entry"
        " shows the people of the account the person of whom its facts tell, so the caller has to see that person",
    ),
    "audit_seals": Rows("false"),
    "block_announcements": Rows("false"),
    "bulk_rows": _and(
        _of_account("bulk_rows", "main_id"),
        # Without a correlation, so that it is read once for thousands of rows.
        "(bulk_id, main_id) IN (SELECT one.id, one.main_id FROM bulks AS one)",
        _request("bulk_rows"),
    ),
    "bulks": _and(_of_account("bulks", "main_id"), _person("bulks", "user_id")),
    "call_forwardings": _of_account("call_forwardings"),
    "collective_invoice_items": Rows(
        f"{_reached('collective_invoice_items.account_id')} OR reaches_invoice(invoice_id)",
        _reached("collective_invoice_items.account_id"),
        f"{_reached('collective_invoice_items.account_id')} AND EXISTS (SELECT FROM collective_invoices AS one"
        " JOIN accounts AS own ON own.main_id = one.main_id"
        " WHERE one.id = collective_invoice_items.invoice_id AND own.id = collective_invoice_items.account_id)",
        why="a sub-account joins an invoice of its main account, and no account of others joins one",
    ),
    "collective_invoices": Rows(
        f"{_reached('collective_invoices.main_id')} OR main_id = {_MAINS}",
        why="also those of the main account above, of which an own account accepts the offer",
    ),
    "consents": _and(_of_request("consents"), _person("consents", "decided_by")),
    "contract_holders": Rows(
        f"{_reached('contract_holders.account_id')} OR account_id = {_ORDERERS}",
        _reached("contract_holders.account_id"),
        why="an ordered account has the contract holder of its main account",
    ),
    "contract_items": Rows(
        # Twenty times as fast as a function for each row, in sums of thousands of contracts.
        f"{STAFF} OR EXISTS (SELECT FROM contracts WHERE contracts.id = contract_items.contract_id)",
        why="the caller sees the contract",
    ),
    "contracts": Rows(
        f"{_reached('contracts.account_id')} OR contracts.account_id IN (SELECT caller_closed())",
        _reached("contracts.account_id"),
        why="what a sub-account has cost that a cancellation has closed stays in its main account's list",
    ),
    # A number proposed to ON CONFLICT has to be seen, also one that is taken.
    "customer_numbers": Rows("true", "false", "true", why="numbers only: whose they are stands in accounts"),
    "daily_uses": _of_account("daily_uses"),
    "directory_entries": _of_account("directory_entries"),
    "email_proofs": _of_account("email_proofs", "main_id"),
    "erasures": Rows(f"user_id = {_PEOPLE}", "false", f"user_id = {_PEOPLE}"),
    "factor_resets": Rows(f"{STAFF} OR user_id = {_PEOPLE}", STAFF, f"{STAFF} AND asked_by = (SELECT caller_id())"),
    "findings": Rows(STAFF),
    "high_risk_prefixes": _free(_NO_CUSTOMER),
    "idempotency_keys": _and(
        _of_account("idempotency_keys"), "user_id = (SELECT caller_id())", _request("idempotency_keys")
    ),
    "invitations": Rows(
        f"{_reached('invitations.account_id')} OR invited_by = {_PEOPLE}",
        _reached("invitations.account_id"),
        f"{_reached('invitations.account_id')} AND {_person('invitations', 'invited_by')}",
        f"{_reached('invitations.account_id')} AND {_person('invitations', 'invited_by')}",
        why="a person's own ones everywhere are counted against their limit",
    ),
    "invoice_offers": _and(
        _of_account("invoice_offers"),
        "EXISTS (SELECT FROM accounts AS one WHERE one.id = account_id AND one.main_id = invoice_offers.main_id)",
    ),
    "invited_people": _and(
        Rows(f"{STAFF} OR {_reached('invited_people.account_id')}"),
        "EXISTS (SELECT FROM invitations AS one WHERE one.id = invitation_id"
        " AND one.account_id = invited_people.account_id)",
    ),
    "job_heartbeats": _free(_NO_CUSTOMER),
    "job_runs": _free("counts only; the findings are another table"),
    "jobs": _free(_NO_CUSTOMER),
    "known_places": Rows(
        "true", STAFF, "decided_by IS NULL AND fits IS NULL", why="postal codes and towns, without who asked"
    ),
    "link_codes": Rows(
        f"{_reached('link_codes.account_id')} OR account_id = {_TYPED}",
        add=f"{_reached('link_codes.account_id')} AND {_person('link_codes', 'created_by')}",
        why="of the number typed, to use its code up",
    ),
    "logins": Rows(f"user_id = {_PEOPLE}", why="a public page names the person by address or by the link's number"),
    "main_consents": _and(_of_request("main_consents"), _person("main_consents", "decided_by")),
    "memberships": Rows(
        f"{_reached('memberships.account_id')} OR user_id = {_PEOPLE}"
        f" OR account_id = {_TYPED} OR (account_id = {_MAINS} AND (role = 'administrator' OR user_id = {_TEAM}))",
        f"account_id = {_ADMINISTERED} OR user_id = {_PEOPLE} OR {_INVITED}",
        _INVITED,
        f"account_id = {_ADMINISTERED} OR {_INVITED}",
        why="the administrators of the main account above are told of risky changes; a role is given by an invitation"
        " only, and changed by the account's administrators; a person may give up an own one",
    ),
    "messages": Rows(
        _of_request("messages", "request_id", "reaches_bulk(bulk_id)", f"recipient_address = {_named('email')}").see,
        "false",
        f"{_request('messages')} AND (bulk_id IS NULL OR reaches_bulk(bulk_id))",
        why="a mail may go to anybody; those without a request are looked up by the address that was typed",
    ),
    "moved_blocks": Rows(
        _of_request("moved_blocks").see,
        add=f"{_request('moved_blocks')} AND replacement_id IS NULL AND moved_at IS NULL"
        " AND EXISTS (SELECT FROM number_blocks AS one WHERE one.id = block_id AND one.account_id IS NOT NULL)",
        become=f"{_of_request('moved_blocks').see} AND replacement_id IS NULL",
        why="workers reserve what takes the place of a block; who cancels a move gives it up",
    ),
    "number_assignments": _and(
        _of_account("number_assignments"),
        # A block that is given back belongs to nobody, when its assignment ends.
        "EXISTS (SELECT FROM number_blocks AS one WHERE one.id = block_id AND (one.account_id IS NULL"
        " OR one.account_id = number_assignments.account_id))",
    ),
    "number_blocks": Rows(
        f"account_id IS NULL OR {_reached('number_blocks.account_id')}",
        f"{_reached('number_blocks.account_id')} OR {_RESERVED_BY_REQUEST} OR {_RESERVED_BY_MOVE}",
        _reached("number_blocks.account_id"),
        become=f"(account_id IS NULL OR {_reached('number_blocks.account_id')})"
        " AND (trunk_id IS NULL OR sees_trunk_of(account_id, trunk_id))",
        why="orders show what is free; a block is released, and taken by workers only; who cancels a request frees the"
        " blocks that it has reserved",
    ),
    "order_drafts": _and(_of_account("order_drafts"), _person("order_drafts", "user_id"), _request("order_drafts")),
    "outages": _free(_NO_CUSTOMER),
    "own_limits": _of_account("own_limits"),
    "ownership_proofs": _and(
        _of_request("ownership_proofs"),
        _refers("ownership_proofs", "account_id", "accounts"),
        f"({_person('ownership_proofs', 'proved_by')} OR EXISTS (SELECT FROM link_codes AS one"
        " WHERE one.account_id = ownership_proofs.account_id AND one.created_by = proved_by))",
    ),
    "product_prices": _free(_NO_CUSTOMER),
    "products": _free(_NO_CUSTOMER),
    "recovery_codes": Rows(f"user_id = {_PEOPLE}"),
    "requests": Rows(
        _SEEN_REQUESTS,
        add=f"(main_id = {_OWN} OR reaches_account(main_id)"
        " OR (kind IN ('detach', 'change', 'numbers', 'move', 'cancel') AND leaves_main(account_id, main_id)))"
        " AND reaches_named_account(kind, account_id, customer_number)"
        f" AND {_person('requests', 'requested_by')}"
        f" AND {_refers('requests', 'token_id', 'api_tokens')}"
        " AND (changed_trunk_id IS NULL OR sees_trunk_of(account_id, changed_trunk_id))"
        " AND (reserved_block_id IS NULL OR sees_free_block(reserved_block_id))"
        " AND (displaced_id IS NULL OR reaches_request(displaced_id))"
        " AND (bulk_id IS NULL OR reaches_bulk(bulk_id)) AND approval_by IS NULL",
        become=f"({_SEEN_REQUESTS}) AND {_person('requests', 'approval_by')}",
        why="also those that would attach an own account, or take a sub-account away; and, for the code of a letter,"
        " that of the number typed",
    ),
    "second_factors": Rows(
        f"user_id = {_PEOPLE}",
        why="a public page names the person by address or by the link's number, and asks whether there is a factor",
    ),
    "sip_trunks": _of_account("sip_trunks"),
    "timeline_entries": Rows(
        _of_request("timeline_entries").see,
        add="is_request_new(request_id) OR " + _of_request("timeline_entries").see,
        why="a request is inserted by the same statement as its first line, which does not see the request yet",
    ),
    "users": Rows(
        f"id = (SELECT caller_id()) OR id = {_PEOPLE} OR email = {_named('email')} OR {STAFF} OR knows_user(id)",
        f"id = {_PEOPLE}",
        "email IN (SELECT opened.email FROM opened_invitations AS opened)",
        why="the people of the accounts, and those who did something there",
    ),
}
"""For each table of the portal's database, the conditions on the rows that the front's role can see and write."""


def is_enforced(database: Database) -> bool:
    """Return whether row-level security is switched on in the database, judged by the table of accounts."""
    with database.engine.connect() as connection:
        return bool(connection.scalar(_ENFORCED))


def apply_row_security(
    database: Database, *, on: bool | None, pause: float = _PAUSE, patience: str = _PATIENCE
) -> bool:
    """Create the policies of every table, and return whether row-level security is on.

    `database` connects as the owner of the tables. `on` switches row-level security on or off; None leaves it as it is,
    and switches it on for new tables if it is on for the others. Does nothing and returns False unless the roles of the
    front, the workers, the metrics and the owner exist.

    Each table whose policies differ is changed in a transaction of its own. If the table cannot be locked within
    `patience`, a duration such as '300ms', it is tried again, up to 40 times, `pause` seconds apart. Raises
    `OperationalError` for a table that stays in use; the tables before it have been changed then. Safe to run twice,
    and on two machines at a time.
    """
    with database.engine.connect() as connection:
        missing = set(DatabaseRole) - set(connection.scalars(sa.text("SELECT rolname FROM pg_roles")))
        enforced = bool(connection.scalar(_ENFORCED)) if on is None else on
    if missing & {DatabaseRole.FRONT, *_OTHERS}:
        return False
    for table, rows in PORTAL.items():
        for left in reversed(range(_TRIES)):
            try:
                with database.engine.begin() as connection:
                    _apply(connection, table, rows, on=enforced, patience=patience)
                break
            except OperationalError:
                if not left:
                    raise
                time.sleep(pause)
    return enforced


def _apply(connection: sa.Connection, table: str, rows: Rows, *, on: bool, patience: str) -> None:
    take_advisory_lock(connection, AdvisoryLock.ROLES)
    statements = rows.statements(table)
    digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    is_on, marks = connection.execute(_STATE, {"name": table}).one()
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{patience}'"))
    if marks != {digest: len(statements)}:
        for name in connection.scalars(_POLICIES, {"name": table}).all():
            connection.exec_driver_sql(f"DROP POLICY {name} ON {table}")
        for statement in statements:
            connection.exec_driver_sql(statement)
            name = statement.split()[2]
            connection.exec_driver_sql(f"COMMENT ON POLICY {name} ON {table} IS '{digest}'")
    if is_on != on:
        connection.exec_driver_sql(f"ALTER TABLE {table} {'ENABLE' if on else 'DISABLE'} ROW LEVEL SECURITY")
