"""Tests how many rows the statements of a page read under row-level security.

PostgreSQL evaluates a policy before every condition that could leak a value, so that such a condition (any with `lower`
or `translate`) finds its rows by no index. A statement that relied on the index still works, but reads every
sub-account again and again.
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
from tests.web.conftest import Front
from tests.web.portal.page.test_portal import sign_in

_SUBS = 60
_TIMES = 6
"""How often a statement may read each sub-account: lists of all states are several queries in one."""


@contextmanager
def _plans() -> Iterator[list[tuple[str, Any]]]:
    """Yield a list that gets, for each query in the `with` block, its text and its execution plan with row counts.

    For this each query is executed a second time.
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
    """Return how many rows of the table of accounts were read by a plan and its parts, in all loops."""
    loops, kept = plan["Actual Loops"], plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    own = loops * kept if plan.get("Relation Name") == "accounts" else 0
    return own + sum(_rows_read(part) for part in plan.get("Plans", ()))


@pytest.fixture
def company(front: Front, owner_database: Database) -> Front:
    """Give the main account many sub-accounts, each in its own city; provide the client with its manager signed in."""
    with owner_database.transaction() as session:
        for place in range(_SUBS):
            sub = make_account(session, name=f"Filiale {place}", city=f"Ort {place}")
            attach(session, front.main.id, sub.id, Origin.LINK, NOW)
    sign_in(front, front.manager.email)
    return front


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
