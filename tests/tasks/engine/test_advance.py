"""Tests that the workers carry orders and link requests from their first to their final status.

An order ends as an active sub-account with contract, numbers and trunk. Repeated Celery messages change nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.contracts.catalogue import Product, set_price
from models.contracts.contracts import ContractItem
from models.errors import TooLate
from models.orders.orders import cancel_and_release
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.staff.sign_in_access import disable
from models.states import AccountRole, AccountState, Origin, Reason, Status
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import RequestUri, SipTrunk
from tasks.ports import GatewayUnavailable
from tests.factories import MOBILE, a_link, an_order, fill_pool, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline

ORDER_CODES = ["order_received", "order_verified", "provisioned", "attached", "completed", "confirmed", "confirmed"]


def test_an_order_ends_as_an_attached_account_with_contract_numbers_and_trunk(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason, request.due_at) == (Status.COMPLETED, None, None)
    assert pipeline.codes(id) == ORDER_CODES
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        assert (account.role, account.origin, account.state) == (AccountRole.SUB, Origin.ORDER, AccountState.ACTIVE)
        assert account.main_id == pipeline.main.id
        assert session.get_one(Account, pipeline.main.id).role is AccountRole.MAIN
        items = {item.product_key: item.monthly_cents for item in session.scalars(sa.select(ContractItem))}
        assert items == {"trunk-10": 2990, "block-10": 290, "mobile-backup": 490}
        trunk = session.scalars(sa.select(SipTrunk)).one()
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id)).one()
    record = pipeline.registrar.trunks[trunk.sip_user]
    assert record.numbers == block.numbers
    assert len(record.numbers) == 10
    assert pipeline.runtime.vault.open(trunk.secret) == record.secret
    assert record.secret.encode() not in trunk.secret
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {
        pipeline.manager.email,
        "hanna.palmer@example.com",
    }
    assert record.secret not in "".join(mail.text + mail.html for mail in pipeline.mailer.but_receipts)


@pytest.mark.parametrize(
    ("size", "chosen", "told"),
    [
        (1, None, RequestUri.CONTACT),
        (1, RequestUri.NUMBER, RequestUri.NUMBER),
        (10, None, RequestUri.NUMBER),
        (10, RequestUri.CONTACT, RequestUri.CONTACT),
    ],
)
def test_a_trunk_is_called_as_the_order_says_or_as_is_usual_for_so_many_numbers(
    pipeline: Pipeline, size: int, chosen: RequestUri | None, told: RequestUri
) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, size=1, count=1, first="30000000")
    pipeline.order(an_order(block_size=size, request_uri=chosen))
    pipeline.advance()
    [record] = pipeline.registrar.trunks.values()
    assert record.request_uri is told
    # Older trunks have no such preference, and are called by the number.
    assert record.preferences.get("request_uri") == ("contact" if told is RequestUri.CONTACT else None)


def test_a_trunk_calls_the_countries_of_its_order(pipeline: Pipeline) -> None:
    pipeline.order(an_order(countries=("AT", "870")))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
    assert trunk.countries == ["870", "AT", "DE"]


@pytest.mark.usefixtures("changing_products")
def test_an_option_that_is_withdrawn_after_the_order_stays_in_it(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "mobile-backup").values(orderable=False))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert "mobile-backup" in session.scalars(sa.select(ContractItem.product_key)).all()


@pytest.mark.parametrize("key", ["trunk-10", "block-10"])
def test_what_the_carrier_withdraws_on_the_day_of_the_order_stays_in_it(pipeline: Pipeline, key: str) -> None:
    id = pipeline.order(an_order())
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        set_price(session, key, berlin_day(now), now, monthly_cents=1, one_off_cents=1, orderable=False)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        items = {item.product_key: item.monthly_cents for item in session.scalars(sa.select(ContractItem))}
    assert items == {"trunk-10": 2990, "block-10": 290}


@pytest.mark.usefixtures("changing_products")
def test_a_trunk_that_the_program_cannot_deliver_any_more_ends_its_order(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(orderable=False))
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.PRODUCT_NOT_ORDERABLE


def test_a_hint_that_comes_again_changes_nothing(pipeline: Pipeline) -> None:
    ids = [pipeline.order(an_order()) for _ in range(3)]
    for _ in range(3):
        pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
    assert [pipeline.codes(id) for id in ids] == [ORDER_CODES] * 3
    assert len(pipeline.registrar.writes) == 3
    assert len(pipeline.mailer.but_receipts) == 6


def test_who_is_requester_and_contact_gets_one_mail(pipeline: Pipeline) -> None:
    draft = an_order()
    contact = type(draft.contact)("Max", pipeline.manager.email.upper(), None)
    pipeline.order(an_order(contact=contact))
    pipeline.advance()
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == [pipeline.manager.email]


def test_link_by_somebody_who_administers_both(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = make_account(session, administrator=make_user(session, email="owner@example.com", locale="en"))
        user = make_user(session)
        main = make_account(session, administrator=user)
        join(session, user, account)
        manager = principal_of(session, user)
    id = pipeline.link(a_link(account), manager, main)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id) == [
        "link_received",
        "proved_administers_both",
        "attached",
        "completed",
        *["confirmed"] * 2,
    ]
    mails = {mail.recipient_address: mail for mail in pipeline.mailer.but_receipts}
    assert set(mails) == {manager.email, "owner@example.com"}
    assert mails["owner@example.com"].locale == "en"
    assert manager.name in mails["owner@example.com"].text


def test_who_is_shut_out_links_nothing_although_they_administer_both(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        user = make_user(session)
        main = make_account(session, administrator=user)
        account = make_account(session, administrator=user)
        manager = principal_of(session, user)
    id = pipeline.link(a_link(account), manager, main)
    with pipeline.runtime.database.transaction() as session:
        disable(session, session.get_one(User, user.id), pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is not Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id is None


def test_link_by_credentials_of_an_administrator(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    id = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert "proved_credentials" in pipeline.codes(id)


def test_an_outsider_learns_nothing(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner, other_owner = make_user(session), make_user(session)
        account = make_account(session, administrator=owner)
        make_account(session, administrator=other_owner)
        taken = make_account(session, administrator=owner)
        _, other = make_main(session)
    del other
    drafts = [
        a_link("1000001", email=owner.email),
        a_link(account, email=owner.email, password="wrong"),
        a_link(taken, email=other_owner.email),
        a_link("1000002"),
    ]
    ids = [pipeline.link(draft) for draft in drafts]
    seen = []
    for id in ids:
        pipeline.advance()
        request = pipeline.request(id)
        seen.append((request.status, request.reason, request.account_id, tuple(pipeline.codes(id))))
    outcome = (Status.REJECTED, Reason.OWNERSHIP_NOT_PROVEN, None, ("link_received", "rejected"))
    assert seen == [outcome] * 4
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {pipeline.manager.email}


def test_only_one_main_account_and_no_tree(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        elsewhere, elsewhere_manager = make_main(session, subs=1)
        join(session, owner, elsewhere)
    first = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    second = pipeline.link(a_link(account, email=owner.email), elsewhere_manager, elsewhere)
    third = pipeline.link(a_link(elsewhere, email=owner.email))
    pipeline.advance()
    assert pipeline.request(first).status is Status.COMPLETED
    assert pipeline.request(second).reason is Reason.ALREADY_ATTACHED
    assert pipeline.request(third).reason is Reason.IS_MAIN_ACCOUNT


def test_a_hint_is_good_for_what_is_due_and_nothing_else(pipeline: Pipeline) -> None:
    ids = [pipeline.order(an_order()) for _ in range(4)]
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, ids[1]).make_due(pipeline.clock.now + timedelta(seconds=1))
    pipeline.advance()
    statuses = [pipeline.request(id).status for id in ids]
    assert statuses == [Status.COMPLETED, Status.ACKNOWLEDGED, Status.COMPLETED, Status.COMPLETED]
    assert pipeline.hints == []


def test_a_full_batch_asks_for_another_hint_and_takes_the_oldest(pipeline: Pipeline) -> None:
    pipeline.runtime = replace(pipeline.runtime, batch=2)
    ids = []
    for _ in range(3):
        ids.append(pipeline.order(an_order()))
        pipeline.clock.advance(timedelta(seconds=1))
    pipeline.advance()
    assert "more" in pipeline.hints
    assert [pipeline.request(id).status for id in ids] == [Status.COMPLETED, Status.COMPLETED, Status.ACKNOWLEDGED]
    pipeline.advance()
    assert pipeline.request(ids[2]).status is Status.COMPLETED


def test_an_order_that_the_registrar_may_know_of_cannot_be_cancelled(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayUnavailable("timed out")]
    id = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Request, id).can_cancel
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session, pytest.raises(TooLate):
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=1))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
