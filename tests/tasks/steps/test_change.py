"""Tests of changes of a contract: at once, on a day, several in order, and cancelled before their day.

Also of the contract lines and mails that they leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import berlin_day, first_moment
from models.changes.changes import ChangeDraft, planned_changes, submit_change
from models.contracts.contracts import ContractItem, runs
from models.errors import InvalidField, LaterChangePlanned
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.trunks import SipTrunk, close_trunk
from tests.factories import an_order, join, make_user
from tests.tasks.conftest import Pipeline

CHANNELS = {"trunk-2": 2, "trunk-10": 10, "trunk-50": 50}
MONTHLY = {"trunk-2": 990, "trunk-10": 2990, "trunk-50": 9990}
ONE_OFF = {"trunk-2": 0, "trunk-10": 2900, "trunk-50": 9900}


@pytest.fixture
def trunk_id(pipeline: Pipeline) -> int:
    """Complete the order of a sub-account with four channels, clear the sent mails, and return its trunk's id."""
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.id)).one()


def ask(
    pipeline: Pipeline,
    trunk_id: int,
    product: str,
    day: date | None = None,
    channels: int | None = None,
    person: Principal | None = None,
) -> UUID:
    """Request the tariff `product` for the trunk from `day` on (None: at once); return the request's id.

    `channels` is the number of channels (None: as many as the product allows), `person` requests it (None: the
    manager).
    """
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        draft = ChangeDraft(product, channels or CHANNELS[product], day, "de")
        return submit_change(session, person or pipeline.manager, account, trunk_id, draft, pipeline.clock.now).id


def in_days(pipeline: Pipeline, days: int) -> date:
    """Return the date that is `days` days from now."""
    return berlin_day(pipeline.clock.now) + timedelta(days=days)


def go_to(pipeline: Pipeline, at: datetime) -> None:
    """Set the clock to `at` and run the workers."""
    pipeline.clock.now = at
    for _ in range(3):
        pipeline.advance()


def channels_of(pipeline: Pipeline, trunk_id: int) -> int:
    """Return how many channels the trunk has in the database."""
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(SipTrunk, trunk_id).channels


def tariffs_at(pipeline: Pipeline, trunk_id: int, at: datetime) -> list[tuple[str, int]]:
    """Return the tariffs of the trunk's contract at a time, as pairs of product key and monthly price in cents."""
    return tariffs_of(pipeline, trunk_id, [at])[at]


def tariffs_of(pipeline: Pipeline, trunk_id: int, moments: Sequence[datetime]) -> dict[datetime, list[tuple[str, int]]]:
    """Return the tariffs of the trunk's contract by moment, as pairs of product key and monthly price in cents."""
    at = sa.values(sa.column("at", sa.DateTime(timezone=True)), name="moments").data([(each,) for each in moments]).c.at
    found: dict[datetime, list[tuple[str, int]]] = {each: [] for each in moments}
    with pipeline.runtime.database.transaction() as session:
        items = session.execute(
            sa.select(at, ContractItem.product_key, ContractItem.monthly_cents)
            .join(ContractItem, runs(ContractItem, at))
            .join(SipTrunk, SipTrunk.contract_id == ContractItem.contract_id)
            .where(SipTrunk.id == trunk_id, ContractItem.product_key.in_(CHANNELS))
        )
        for moment, product, cents in items:
            found[moment].append((product, cents))
    return found


def test_a_change_at_once_gives_channels_contract_line_registrar_and_mails(pipeline: Pipeline, trunk_id: int) -> None:
    before = pipeline.clock.now
    pipeline.clock.advance(timedelta(hours=1))
    id = ask(pipeline, trunk_id, "trunk-50", channels=30)
    assert pipeline.request(id).status is Status.ACKNOWLEDGED
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert request.status is Status.COMPLETED
    assert pipeline.codes(id) == ["change_received", "changed", "completed", "confirmed"]
    assert channels_of(pipeline, trunk_id) == 30
    assert [record.channels for record in pipeline.registrar.trunks.values()] == [30]
    assert tariffs_at(pipeline, trunk_id, pipeline.clock.now) == [("trunk-50", 9990)]
    assert tariffs_at(pipeline, trunk_id, before) == [("trunk-10", 2990)]
    [receipt, told] = pipeline.mailer.sent
    assert (receipt.recipient_address, told.recipient_address) == (pipeline.manager.email,) * 2
    assert "102,80" in told.text and "32,80" in told.text and "99,00" in told.text
    assert "bisher: SIP-Trunk mit 10 Kanälen" in told.text.replace("\u2068", "").replace("\u2069", "")


def test_fewer_channels_of_the_same_tariff_keep_its_price(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, "trunk-10", channels=7)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED
    assert channels_of(pipeline, trunk_id) == 7
    with pipeline.runtime.database.transaction() as session:
        items = session.scalars(sa.select(ContractItem).where(ContractItem.product_key.in_(CHANNELS))).all()
        assert [(item.product_key, item.started_at, item.ended_at) for item in items] == [("trunk-10", None, None)]


def test_a_change_on_a_day_waits_for_the_start_of_that_day_in_berlin(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 40)
    id = ask(pipeline, trunk_id, "trunk-50", day)
    request = pipeline.request(id)
    assert (request.status, request.due_at) == (Status.ACKNOWLEDGED, first_moment(day))
    assert request.is_scheduled(pipeline.clock.now)
    go_to(pipeline, first_moment(day) - timedelta(seconds=1))
    assert pipeline.request(id).status is Status.ACKNOWLEDGED
    assert channels_of(pipeline, trunk_id) == 4
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert channels_of(pipeline, trunk_id) == 50
    assert pipeline.codes(id)[:2] == ["change_scheduled", "changed"]


def test_a_change_is_taken_back_until_its_day(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 40)
    id = ask(pipeline, trunk_id, "trunk-50", day)
    go_to(pipeline, first_moment(day) - timedelta(seconds=1))
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    go_to(pipeline, first_moment(day) + timedelta(days=1))
    assert pipeline.request(id).status is Status.CANCELLED
    assert tariffs_at(pipeline, trunk_id, pipeline.clock.now) == [("trunk-10", 2990)]


def test_a_change_on_top_of_which_another_was_agreed_is_taken_back_after_that_one(
    pipeline: Pipeline, trunk_id: int
) -> None:
    first, second = in_days(pipeline, 10), in_days(pipeline, 20)
    earlier, later = (
        ask(pipeline, trunk_id, "trunk-50", first),
        ask(pipeline, trunk_id, "trunk-50", second, channels=49),
    )
    with pipeline.runtime.database.transaction() as session:
        with pytest.raises(LaterChangePlanned) as refused:
            cancel_and_release(session.get_one(Request, earlier), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        assert refused.value.day == second
        for id in (later, earlier):
            cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
            session.flush()


def test_what_ended_before_the_day_is_in_no_sum_of_the_change(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 10)
    ask(pipeline, trunk_id, "trunk-50", day)
    with pipeline.runtime.database.transaction() as session:
        block = session.scalars(sa.select(ContractItem).where(ContractItem.product_key.like("block%"))).one()
        block.ended_at = pipeline.clock.now
    go_to(pipeline, first_moment(day))
    assert "99,90" in pipeline.mailer.sent[-1].text


def test_after_weeks_without_workers_changes_are_made_in_the_order_of_their_days(
    pipeline: Pipeline, trunk_id: int
) -> None:
    first, second, third = (in_days(pipeline, days) for days in (10, 20, 30))
    for day, product in ((first, "trunk-50"), (second, "trunk-10"), (third, "trunk-50")):
        ask(pipeline, trunk_id, product, day)
    pipeline.clock.now = first_moment(third) + timedelta(days=5)
    for _ in range(5):
        go_to(pipeline, pipeline.clock.now + timedelta(seconds=3))
    assert channels_of(pipeline, trunk_id) == 50
    for day, product in ((first, "trunk-50"), (second, "trunk-10"), (third, "trunk-50")):
        assert tariffs_at(pipeline, trunk_id, first_moment(day)) == [(product, MONTHLY[product])]
    assert tariffs_at(pipeline, trunk_id, first_moment(first) - timedelta(seconds=1)) == [("trunk-10", 2990)]
    with pipeline.runtime.database.transaction() as session:
        lines = session.execute(
            sa.select(ContractItem.product_key, ContractItem.occurrence, ContractItem.one_off_cents)
            .where(ContractItem.product_key.in_(CHANNELS))
            .order_by(ContractItem.product_key, ContractItem.occurrence)
        ).all()
    # The set-up is paid for more channels, not for fewer.
    assert [tuple(line) for line in lines] == [
        ("trunk-10", 1, 2900),
        ("trunk-10", 2, 0),
        ("trunk-50", 1, 9900),
        ("trunk-50", 2, 9900),
    ]


def test_a_change_waits_for_the_one_before_it_that_is_held(pipeline: Pipeline, trunk_id: int) -> None:
    first, second = (in_days(pipeline, days) for days in (10, 20))
    held, waiting = ask(pipeline, trunk_id, "trunk-50", first), ask(pipeline, trunk_id, "trunk-2", second)
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, held).hold(Reason.INTERNAL_ERROR, pipeline.clock.now)
    go_to(pipeline, first_moment(second))
    assert channels_of(pipeline, trunk_id) == 4
    assert pipeline.request(waiting).due_at is not None
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, held).retry(pipeline.clock.now)
    for _ in range(2):
        go_to(pipeline, pipeline.clock.now + timedelta(seconds=3))
    assert {pipeline.request(id).status for id in (held, waiting)} == {Status.COMPLETED}
    assert channels_of(pipeline, trunk_id) == 2
    assert tariffs_at(pipeline, trunk_id, first_moment(first)) == [("trunk-50", 9990)]


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        (lambda p: ("trunk-10", None, 4), "channels", "nothing_changes"),
        (lambda p: ("trunk-10", None, 11), "channels", "channels_out_of_range"),
        (lambda p: ("block-10", None, 1), "product", "unknown_product"),
        (lambda p: ("trunk-51", None, 1), "product", "unknown_product"),
        (lambda p: ("trunk-50", in_days(p, -1), 50), "effective_on", "day_passed"),
        (lambda p: ("trunk-50", in_days(p, 367), 50), "effective_on", "day_too_far"),
    ],
)
def test_what_is_not_possible_is_said_by_name(
    pipeline: Pipeline,
    trunk_id: int,
    asked: Callable[[Pipeline], tuple[str, date | None, int]],
    field: str,
    code: str,
) -> None:
    product, day, channels = asked(pipeline)
    with pytest.raises(InvalidField) as error:
        ask(pipeline, trunk_id, product, day, channels)
    assert (error.value.field, error.value.code) == (field, code)


def test_a_second_change_for_the_same_or_an_earlier_day_is_refused_with_the_day_of_the_first(
    pipeline: Pipeline, trunk_id: int
) -> None:
    day = in_days(pipeline, 20)
    ask(pipeline, trunk_id, "trunk-50", day)
    for other in (None, in_days(pipeline, 0), in_days(pipeline, 19), day):
        with pytest.raises(InvalidField) as error:
            ask(pipeline, trunk_id, "trunk-2", other)
        assert (error.value.code, error.value.allowed) == ("after_planned", day)
    ask(pipeline, trunk_id, "trunk-2", in_days(pipeline, 21))
    with pipeline.runtime.database.transaction() as session:
        assert len(planned_changes(session, trunk_id)) == 2


def test_a_trunk_that_was_closed_before_its_day_ends_the_change_with_a_mail(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 20)
    id = ask(pipeline, trunk_id, "trunk-50", day)
    with pipeline.runtime.database.transaction() as session:
        close_trunk(session.get_one(SipTrunk, trunk_id), pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.TRUNK_CLOSED)
    assert "SIP-Trunk wurde vorher geschlossen" in pipeline.mailer.sent[-1].text


def test_a_change_goes_on_when_the_account_is_detached_and_the_former_main_account_is_not_told_its_prices(
    pipeline: Pipeline, trunk_id: int
) -> None:
    day = in_days(pipeline, 20)
    id = ask(pipeline, trunk_id, "trunk-50", day)
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        join(session, owner, account)
        detach(session, pipeline.main.id, account.id)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert channels_of(pipeline, trunk_id) == 50
    told = [mail.recipient_address for mail in pipeline.mailer.but_receipts if "geändert" in mail.subject]
    assert told == [owner.email]
    with pipeline.runtime.database.transaction() as session:
        request, person = session.get_one(Request, id), principal_of(session, session.get_one(User, owner.id))
        assert concerns(session, person, request) and may_change(session, person, request)
        assert not may_change(session, pipeline.manager, request)
