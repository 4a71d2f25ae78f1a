"""Tests that a contract keeps the prices of the day on which the contract was made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.contracts.catalogue import Product, load_price_list, price_list, withdrawn_products
from models.contracts.contracts import Contract, ContractItem, new_contract
from models.db.session import Database
from models.errors import InvalidField
from models.orders.orders import basket_of
from tests.factories import NOW, make_account


@pytest.mark.usefixtures("changing_products")
def test_what_the_list_or_the_back_office_withdraws_cannot_be_ordered_and_keeps_its_price(database: Database) -> None:
    with database.transaction() as session:
        # As before this version.
        session.execute(sa.update(Product).values(orderable=Product.key != "trunk-50", monthly_cents=1))
        load_price_list(session)
    with database.transaction() as session:
        assert [product.key for product in withdrawn_products(session)] == ["trunk-50", "fax2mail"]
        assert price_list(session)["fax2mail"].monthly_cents == 290
        with pytest.raises(InvalidField, match="unknown_option"):
            basket_of(session, "trunk-10", 10, ["fax2mail"])


@pytest.mark.usefixtures("changing_products")
def test_a_contract_keeps_the_prices_of_the_day_on_which_it_is_made(database: Database) -> None:
    with database.transaction() as session:
        products = price_list(session)
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
