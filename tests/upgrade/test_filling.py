"""Tests of filling a database for `make upgrade`: rows of orders are copied, and the copies refer to each other."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.schema import metadata
from tests.factories import NOW, an_order, fill_pool, make_main, prove_contact, submit_order
from tests.upgrade.filling import Filling
from workers.gateways.registrar import plain_url

Orders = Callable[[int], None]


@pytest.fixture
def orders(database: Database) -> Orders:
    """Provide a function that places the given number of orders for a customer; one order is placed already."""
    with database.transaction() as session:
        fill_pool(session)
        main, manager = make_main(session)
        prove_contact(session, main)

    def place(times: int) -> None:
        with database.transaction() as session:
            for _ in range(times):
                submit_order(session, manager, session.get_one(Account, main.id), an_order(), NOW)

    place(1)
    return place


@pytest.fixture
def filled(orders: Orders, portal_url: str) -> int:
    """Fill the database with about 2,000 rows copied from those of three orders; return how many rows were added."""
    with psycopg.connect(plain_url(portal_url), autocommit=True) as connection:
        with Filling(connection) as filling:
            orders(3)
        return filling.copy(2000)


def test_all_rows_that_were_written_are_copied(database: Database, filled: int) -> None:
    assert 1000 < filled <= 2000
    with database.engine.connect() as connection:
        [[requests, accounts]] = connection.execute(
            sa.text("SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM accounts)")
        ).all()
        # One account is the customer's own.
        assert requests == accounts - 1 > 100
        assert connection.scalar(sa.text("SELECT count(*) FROM pg_namespace WHERE nspname = 'filling'")) == 0


def test_no_copy_refers_to_what_is_not_there_and_each_request_has_an_account_of_its_own(
    database: Database, filled: int
) -> None:
    with database.engine.connect() as connection:
        for table in metadata.tables.values():
            for key in table.foreign_keys:
                if key.parent.name == "main_role":
                    # Half of a key, and the same in all rows.
                    continue
                there = key.column.table.alias()
                lost = sa.select(sa.func.count()).where(
                    key.parent.is_not(None), ~sa.exists().where(there.c[key.column.name] == key.parent)
                )
                assert connection.scalar(lost.select_from(table)) == 0, key
        [[requests, accounts]] = connection.execute(
            sa.text("SELECT count(*), count(DISTINCT account_id) FROM requests")
        ).all()
        assert requests == accounts


def test_copied_sub_accounts_belong_to_the_copies_of_their_main_account(database: Database, portal_url: str) -> None:
    with psycopg.connect(plain_url(portal_url), autocommit=True) as connection:
        with Filling(connection) as filling, database.transaction() as session:
            make_main(session, subs=3)
        filling.copy_times(20)
        many = "SELECT count(*) FROM accounts WHERE main_id IS NOT NULL GROUP BY main_id"
        assert connection.execute(many).fetchall() == [(3,)] * 21


def test_orders_go_on_afterwards(orders: Orders, filled: int) -> None:
    orders(2)
