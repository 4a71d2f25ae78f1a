"""The step `provision`: what an order's contract costs."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem
from models.requests.requests import Request
from tests.factories import an_order
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.usefixtures("changing_products")


def double_all_prices(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        doubled = {"monthly_cents": Product.monthly_cents * 2, "one_off_cents": Product.one_off_cents * 2}
        session.execute(sa.update(Product).values(**doubled))


def billed(pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Return what the only contract costs, by product: a month, and once."""
    with pipeline.runtime.database.transaction() as session:
        contract = session.scalars(sa.select(Contract)).one()
        items = session.scalars(sa.select(ContractItem).where(ContractItem.contract_id == contract.id))
        return {item.product_key: (item.monthly_cents, item.one_off_cents) for item in items}


def test_the_price_is_that_of_the_order_and_not_of_the_day_it_is_provisioned(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    double_all_prices(pipeline)
    pipeline.advance()
    assert billed(pipeline) == {"trunk-10": (2990, 2900), "block-10": (290, 990)}


def test_an_order_that_was_saved_without_prices_is_billed_at_those_of_now(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        # As a front of the version before did it, which does not know the column.
        session.execute(sa.update(Request).values(price_lines=sa.null()))
    double_all_prices(pipeline)
    pipeline.advance()
    assert billed(pipeline) == {"trunk-10": (5980, 5800), "block-10": (580, 1980)}
