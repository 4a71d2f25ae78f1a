"""Tests of prices: they can change with each day, and a contract keeps the prices of the day on which it was made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models.calendar_days import berlin_day, start_of_day
from models.contracts.catalogue import (
    PriceLine,
    Product,
    load_price_list,
    planned_prices,
    price_list,
    set_price,
    withdrawn_products,
)
from models.contracts.contracts import Contract, ContractItem, new_contract
from models.db.session import Database
from models.errors import InvalidField, NotFound
from models.orders.baskets import agreed_prices, basket_of, ordered_basket
from models.requests.requests import Request
from tests.factories import NOW, an_order, make_account, make_main, submit_order


@pytest.mark.usefixtures("changing_products")
def test_what_the_list_or_the_back_office_withdraws_cannot_be_ordered_and_keeps_its_price(database: Database) -> None:
    with database.transaction() as session:
        # As before this version.
        session.execute(sa.update(Product).values(orderable=Product.key != "trunk-50", name_de="", monthly_cents=290))
        load_price_list(session)
    with database.transaction() as session:
        assert [product.key for product in withdrawn_products(session, NOW)] == ["trunk-50", "fax2mail"]
        assert price_list(session, NOW)["fax2mail"].monthly_cents == 290
        assert price_list(session, NOW)["fax2mail"].name("de") == "Fax per E-Mail"
        with pytest.raises(InvalidField, match="unknown_option"):
            basket_of(session, "trunk-10", 10, ["fax2mail"], NOW)


@pytest.mark.usefixtures("changing_products")
def test_a_new_version_changes_no_price_that_the_carrier_has_set(database: Database) -> None:
    with database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(monthly_cents=1, one_off_cents=2))
        price: dict[str, Any] = {"monthly_cents": 3, "one_off_cents": 4, "orderable": True}
        assert set_price(session, "block-10", berlin_day(NOW), NOW, **price)
        assert not set_price(session, "block-10", berlin_day(NOW), NOW, **price)
        load_price_list(session)
    with database.transaction() as session:
        assert price_list(session, NOW)["trunk-10"].price_line == PriceLine("trunk-10", 1, 2)
        assert price_list(session, NOW)["block-10"].price_line == PriceLine("block-10", 3, 4)


def test_each_day_has_its_price(database: Database) -> None:
    today = berlin_day(NOW)
    later, last = today + timedelta(days=10), today + timedelta(days=20)
    with database.transaction() as session:
        set_price(session, "trunk-10", later, NOW, monthly_cents=1, one_off_cents=2, orderable=True)
        set_price(session, "trunk-10", last, NOW, monthly_cents=1, one_off_cents=2, orderable=False)
        with pytest.raises(InvalidField, match="day_is_over"):
            set_price(
                session, "trunk-10", today - timedelta(days=1), NOW, monthly_cents=1, one_off_cents=2, orderable=True
            )
        with pytest.raises(NotFound):
            set_price(session, "nothing", later, NOW, monthly_cents=1, one_off_cents=2, orderable=True)
        assert [price.valid_from for price in planned_prices(session, NOW)] == [later, last]
    # A day begins in Berlin, not in UTC.
    begins = start_of_day(NOW + timedelta(days=10))
    with database.transaction() as session:
        for moment, cents in ((NOW, 2990), (begins - timedelta(seconds=1), 2990), (begins, 1)):
            [line, *_] = basket_of(session, "trunk-10", 10, [], moment).price_lines
            assert line.monthly_cents == cents, moment
        with pytest.raises(InvalidField, match="unknown_product"):
            basket_of(session, "trunk-10", 10, [], NOW + timedelta(days=20))


def test_an_order_has_the_price_of_its_day_and_stays_sold(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        first = submit_order(session, manager, main, an_order(), NOW).id
        soon = berlin_day(NOW) + timedelta(days=1)
        set_price(session, "trunk-10", soon, NOW, monthly_cents=5000, one_off_cents=0, orderable=True)
        second = submit_order(session, manager, main, an_order(), NOW + timedelta(days=1)).id
        gone = soon + timedelta(days=1)
        set_price(session, "trunk-10", gone, NOW, monthly_cents=5000, one_off_cents=0, orderable=False)
    with database.transaction() as session:
        for id, cents in ((first, 2990), (second, 5000)):
            request = session.get_one(Request, id)
            assert agreed_prices(session, request)[0] == ordered_basket(session, request).price_lines[0]
            assert agreed_prices(session, request)[0].monthly_cents == cents
        with pytest.raises(InvalidField, match="unknown_product"):
            submit_order(session, manager, main, an_order(), NOW + timedelta(days=2))


@pytest.mark.usefixtures("changing_products")
def test_a_contract_keeps_the_prices_of_the_day_on_which_it_is_made(database: Database) -> None:
    with database.transaction() as session:
        products = price_list(session, NOW)
        bought = [products[key].price_line for key in ("trunk-10", "directory-entry")]
        contract = new_contract(make_account(session).id, bought, NOW)
        session.add(contract)
        session.flush()
        id = contract.id
    with database.transaction() as session:
        session.execute(sa.update(Product).values(monthly_cents=99_999, one_off_cents=99_999))
    with database.transaction() as session:
        found = session.get_one(Contract, id)
        assert (found.started_at, found.ended_at, found.request_id) == (NOW, None, None)
        items = session.scalars(sa.select(ContractItem).order_by(ContractItem.product_key))
        assert [(item.product_key, item.monthly_cents, item.one_off_cents) for item in items] == [
            ("directory-entry", 0, 990),
            ("trunk-10", 2990, 2900),
        ]
