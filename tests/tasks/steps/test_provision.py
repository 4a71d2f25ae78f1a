"""The step `provision`: what an order's contract costs, and what its options set up."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem
from models.requests.requests import Request
from models.states import Status
from models.telephony.forwarding import Condition, ForwardingDraft, add_forwarding, remove_forwarding
from models.telephony.weekly_hours import ALL_WEEK
from tasks.ports import Forwarding, GatewayUnavailable
from tasks.registrar.trunks import write_due_trunks
from tests.factories import MOBILE, an_order
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


def test_the_mobile_fallback_stands_in_the_registrar_and_stays_when_others_change(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    pipeline.registrar.failures = [GatewayUnavailable("away")]
    pipeline.advance()
    pipeline.clock.advance(timedelta(minutes=10))
    pipeline.advance()
    request = pipeline.request(id)
    assert request.status is Status.COMPLETED
    [trunk] = pipeline.registrar.trunks.values()
    fallback = Forwarding(Condition.NOT_REGISTERED, MOBILE, None, ALL_WEEK)
    assert trunk.forwardings == (fallback,)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        busy = ForwardingDraft(Condition.BUSY, "030 901820")
        added = add_forwarding(session, pipeline.manager, account, busy, pipeline.clock.now)
        session.flush()
        added_id = added.id
    write_due_trunks(pipeline.runtime, lambda: None)
    [trunk] = pipeline.registrar.trunks.values()
    assert {one.condition for one in trunk.forwardings} == {Condition.NOT_REGISTERED, Condition.BUSY}
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        remove_forwarding(session, pipeline.manager, account, added_id, pipeline.clock.now)
    write_due_trunks(pipeline.runtime, lambda: None)
    [trunk] = pipeline.registrar.trunks.values()
    assert trunk.forwardings == (fallback,)
    assert pipeline.run("registrar").found == {}


def test_a_fallback_that_was_ordered_before_its_number_was_asked_for_is_provisioned_all_the_same(
    pipeline: Pipeline,
) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(Request).values(option_details=None))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    [trunk] = pipeline.registrar.trunks.values()
    assert trunk.forwardings == ()
