"""Tests of the step `provision`, which gives an ordered account its contract, numbers and trunk.

The contract has the prices of the order. The ordered options, mobile fallback and directory entry, are set up.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem
from models.orders.orders import cancel_and_release
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.directory import DirectoryEntry, entries_since
from models.telephony.forwarding import Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding, remove_forwarding
from models.telephony.numbers import NumberBlock
from models.telephony.weekly_hours import ALL_WEEK
from tasks.ports import Forwarding, GatewayRefused, GatewayUnavailable, NumberTaken
from tasks.registrar.trunks import write_due_trunks
from tests.factories import ENTRY, MOBILE, an_order
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.usefixtures("changing_products")


def double_all_prices(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        doubled = {"monthly_cents": Product.monthly_cents * 2, "one_off_cents": Product.one_off_cents * 2}
        session.execute(sa.update(Product).values(**doubled))


def billed(pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Return the prices of the only contract by product key: cents a month and cents once."""
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


@pytest.mark.parametrize("failures", [[], [GatewayUnavailable("away")]])
def test_the_mobile_fallback_stands_in_the_registrar_and_stays_when_others_change(
    pipeline: Pipeline, failures: list[Exception]
) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    pipeline.registrar.failures = list(failures)
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


def test_the_directory_entry_is_made_for_the_first_number_that_the_account_keeps(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [NumberTaken("taken")]
    id = pipeline.order(an_order(option_keys=("directory-entry",), directory_entry=ENTRY))
    pipeline.advance()
    request = pipeline.request(id)
    assert request.status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == request.account_id)).one()
        entry = session.get_one(DirectoryEntry, request.account_id)
        assert (entry.number, entry.data, entry.withdrawn_at) == (block.first_number, ENTRY, None)


def test_the_directory_entry_is_new_when_the_account_is_in_service_and_not_before(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayUnavailable("away")]
    id = pipeline.order(an_order(option_keys=("directory-entry",), directory_entry=ENTRY))
    pipeline.advance()
    pipeline.clock.advance(timedelta(days=1))
    exported_at = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        assert session.get(DirectoryEntry, session.get_one(Request, id).account_id) is None
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        [(entry, _)] = entries_since(session, exported_at)
        assert (entry.data, entry.created_at) == (ENTRY, exported_at)


def test_an_order_that_is_called_off_leaves_no_directory_entry(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = pipeline.order(an_order(option_keys=("directory-entry",), directory_entry=ENTRY))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        cancel_and_release(request, Reason.CANCELLED_BY_BACK_OFFICE, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        assert session.get(DirectoryEntry, request.account_id) is None
