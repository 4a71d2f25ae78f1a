"""Tests how many rows the statements of a page read under row-level security.

However many other companies there are, a page of one company must read the same number of rows. That includes the
functions that policies call; their plans are not part of a statement's plan.

PostgreSQL evaluates a policy before every condition that could leak a value. Such a condition (any with `lower` or
`translate`) cannot use an index. A statement that relies on the index still works, but reads every sub-account again
and again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import Cursor

from models.accounts.hierarchy import attach
from models.db.session import Database
from models.states import Origin
from tests.factories import NOW, make_account
from tests.web.conftest import ORDER, Front
from tests.web.portal.back_office.desk import Desk, staff
from tests.web.portal.page.test_portal import sign_in

_SUBS = 60
_TIMES = 6
"""How often a statement may read each sub-account: a list of all states consists of several queries in one."""

_SORTED = 500
"""How many hits of a search in the back office are sorted."""
_OTHERS = 3000
"""How many other companies there are. Each has an order, a person, and an account that is not active yet."""
_OTHER_ACCOUNTS = """
WITH issued AS (
    INSERT INTO customer_numbers (number) SELECT (5000000 + n)::text FROM generate_series(1, :count) AS n
    ON CONFLICT DO NOTHING RETURNING number
)
INSERT INTO accounts (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email,
    created_at)
SELECT number, 'standalone', 'ordered', 'Filiale ' || number, 'Marktstr. 1', '10115', 'Berlin', 'Kim Beispiel',
    'kim@example.com', now() FROM issued
"""
_OTHER_ORDERS = """
INSERT INTO requests SELECT (jsonb_populate_record(one, jsonb_build_object(
    'id', uuidv7(), 'main_id', other.id, 'account_id', other.id, 'customer_number', other.customer_number
))).* FROM requests AS one, accounts AS other WHERE one.id = :id AND other.contact_email = 'kim@example.com'
"""
# Nobody of them has signed in, or has a token: the highest ids in `logins` and `api_tokens` are low ones.
_OTHER_PEOPLE = """
INSERT INTO users (email, name, locale, created_at)
SELECT n || '@example.com', 'Kim Beispiel', 'de', now() FROM generate_series(1, :count) AS n
"""
# For a row of a sub-account the policies ask which accounts the caller reaches.
_CONTRACTS = "INSERT INTO contracts (account_id, started_at) SELECT id, :now FROM accounts"
_READ = """
SELECT relname, seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
WHERE relname IN ('accounts', 'requests', 'users') ORDER BY relname
"""


@contextmanager
def _rows() -> Iterator[list[tuple[str, dict[str, int]]]]:
    """Record the statements that run in the `with` block; yield the list to which they are added.

    An item is a statement's text, and the numbers of rows that it read from `accounts`, `requests` and `users`, by
    table. Rows that its functions read are counted, too.
    """
    found: list[tuple[str, dict[str, int]]] = []
    before: dict[str, int] = {}

    def read(cursor: Cursor[Any]) -> dict[str, int]:
        return dict(cursor.connection.cursor().execute(_READ).fetchall())

    def begin(_connection: object, cursor: Cursor[Any], *_: object) -> None:
        before.clear()
        before.update(read(cursor))

    def end(_connection: object, cursor: Cursor[Any], statement: str, *_: object) -> None:
        found.append((statement, {table: rows - before.get(table, 0) for table, rows in read(cursor).items()}))

    sa.event.listen(sa.Engine, "before_cursor_execute", begin)
    sa.event.listen(sa.Engine, "after_cursor_execute", end)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", begin)
        sa.event.remove(sa.Engine, "after_cursor_execute", end)


@contextmanager
def _plans() -> Iterator[list[tuple[str, Any]]]:
    """Record the queries that run in the `with` block; yield the list to which they are added.

    An item is a query's text and its execution plan (EXPLAIN ANALYZE as JSON). To get the plan, each query is executed
    a second time.
    """
    found: list[tuple[str, Any]] = []

    def note(_connection: object, cursor: Cursor[Any], statement: str, values: Any, *_: object) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            explain: Any = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement
            row = cursor.connection.cursor().execute(explain, values).fetchone()
            found.append((statement, row[0] if row else None))

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", note)


def _rows_read(plan: Any) -> float:
    """Return how many rows of the table `accounts` a node of an execution plan and the nodes below it have read."""
    loops, kept = plan["Actual Loops"], plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    own = loops * kept if plan.get("Relation Name") == "accounts" else 0
    return own + sum(_rows_read(part) for part in plan.get("Plans", ()))


@pytest.fixture
def company(front: Front, owner_database: Database) -> Front:
    """Give the main account 60 sub-accounts, each in a different city, and sign the manager in; provide the client."""
    with owner_database.transaction() as session:
        for place in range(_SUBS):
            sub = make_account(session, name=f"Filiale {place}", city=f"Ort {place}")
            attach(session, front.main.id, sub.id, Origin.LINK, NOW)
    sign_in(front, front.manager.email)
    return front


@pytest.fixture
def among_others(company: Front, owner_database: Database) -> str:
    """Place an order for the company, and return its id. Add 3,000 other companies with an order and a person each."""
    id = str(company.post("/orders", ORDER).get_json()["id"])
    with owner_database.transaction() as session:
        session.execute(sa.text(_OTHER_ACCOUNTS), {"count": _OTHERS})
        session.execute(sa.text(_OTHER_ORDERS), {"id": id})
        session.execute(sa.text(_OTHER_PEOPLE), {"count": _OTHERS})
        session.execute(sa.text(_CONTRACTS), {"now": NOW})
        session.execute(sa.text("ANALYZE"))
    return id


def test_no_page_reads_the_accounts_requests_or_people_of_all_companies(company: Front, among_others: str) -> None:
    with _rows() as read:
        for path in (
            "/standortverwaltung",
            "/standortverwaltung?suche=Filiale",
            "/standortverwaltung/gruppen/ort",
            "/standortverwaltung/kosten",
            "/standortverwaltung/rufnummern",
            "/standortverwaltung/trunks",
            "/standortverwaltung/vertraege",
            "/anfragen",
            f"/anfragen/{among_others}",
        ):
            assert company.client.get(path).status_code == 200
        assert company.get("/requests").status_code == 200
    assert any(rows.get("accounts") for _, rows in read)
    assert any(rows.get("users") for _, rows in read)
    # Some numbers may have been taken already.
    assert [(statement, rows) for statement, rows in read if max(rows.values(), default=0) > _OTHERS / 2] == []


def test_a_search_for_a_common_word_reads_only_the_hits_that_it_sorts(front: Front, among_others: str) -> None:
    desk = Desk(front.client.application.test_client(), staff(front, "Bo Backoffice").email)
    with _rows() as read:
        page = desk.page("/backoffice/suche?suche=example")
    assert "Filiale" in page and "Kim Beispiel" in page
    for table in ("accounts", "users"):
        most = max(rows.get(table, 0) for _, rows in read)
        # And those that are shown, with their main accounts.
        assert _SORTED <= most <= _SORTED + 50, table


@pytest.mark.parametrize(
    "path",
    [
        "/standortverwaltung",
        "/standortverwaltung?sortierung=city",
        "/standortverwaltung?sortierung=name",
        "/standortverwaltung?ort=Ort+7",
        "/standortverwaltung?suche=Filiale",
        "/standortverwaltung/gruppen/ort",
        "/standortverwaltung/gruppen/status",
        "/standortverwaltung/kosten",
        "/standortverwaltung/rufnummern",
        "/standortverwaltung/trunks",
        "/standortverwaltung/vertraege",
        "/anfragen",
    ],
)
def test_no_statement_of_a_page_reads_the_sub_accounts_again_and_again(company: Front, path: str) -> None:
    with _plans() as plans:
        assert company.client.get(path).status_code == 200
    read = {json.dumps(statement): _rows_read(plan[0]["Plan"]) for statement, plan in plans}
    assert any("accounts" in statement for statement in read)
    assert {statement: rows for statement, rows in read.items() if rows > _TIMES * _SUBS} == {}
