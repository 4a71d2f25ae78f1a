"""Tests that a contract keeps the prices of the day on which the contract was made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.contracts.catalogue import Product, price_list
from models.contracts.contracts import Contract, ContractItem, new_contract
from models.db.session import Database
from tests.factories import NOW, make_account


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
