"""Tests of requests for more numbers, at once or from a later day on.

The block is reserved until that day, and free again if the request is cancelled. An empty pool holds the request. The
numbers are charged from the day on which the trunk gets them.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import Month, berlin_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.quotes import agreed_lines, agreed_quote
from models.contracts.contracts import Contract, ContractItem, runs
from models.errors import Forbidden, InvalidField, PricesChanged
from models.links.links import submit_detach
from models.orders.number_release import release_numbers
from models.orders.orders import cancel_and_release
from models.orders.restocking import pool_levels, restock
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.staff.place_questions import answer_place_question
from models.states import Reason, Status
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import QUARANTINE, RESERVED, withdraw_from_pool
from models.telephony.numbers import NumberBlock
from models.telephony.place_answers import open_questions
from models.telephony.trunks import SipTrunk, close_trunk
from models.views.account_costs import costs_of_account
from tests.factories import an_order, fill_pool, join, make_staff, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.test_change import go_to, in_days


@pytest.fixture
def trunk_id(pipeline: Pipeline) -> int:
    """Complete the order of a sub-account with ten numbers, clear the sent mails, and return its trunk's id."""
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.id)).one()


def ask(
    pipeline: Pipeline,
    trunk_id: int,
    size: int = 10,
    day: date | None = None,
    area_code: str = "030",
    person: Principal | None = None,
    shown: str | None = None,
) -> UUID:
    """Request a block of `size` numbers for the trunk from `day` on (None: at once); return the request's id.

    `person` requests it (None: the manager). `shown` is the text with the prices that a form has shown and sends back
    (None: the prices are not checked).
    """
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        draft = NumbersDraft(area_code, size, day, "de")
        return submit_numbers(session, person or pipeline.manager, account, trunk_id, draft, now, shown=shown).id


def take_back(pipeline: Pipeline, id: UUID) -> None:
    """Cancel the request, as the customer who made it."""
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def block_of(pipeline: Pipeline, id: UUID) -> NumberBlock:
    """Return the number block that the request has reserved or added, as it is in the database now."""
    with pipeline.runtime.database.transaction() as session:
        found = session.get_one(Request, id).reserved_block_id
        assert found is not None
        return session.get_one(NumberBlock, found)


def block_lines(pipeline: Pipeline, trunk_id: int, at: datetime) -> list[tuple[str, int, int | None]]:
    """Return the lines for number blocks of the trunk's contract that run at the time `at`.

    Each is product key, occurrence (1 for the first line of this product, 2 for the second) and the block's id.
    """
    with pipeline.runtime.database.transaction() as session:
        items = session.scalars(
            sa.select(ContractItem)
            .join(SipTrunk, SipTrunk.contract_id == ContractItem.contract_id)
            .where(SipTrunk.id == trunk_id, ContractItem.product_key.like("block-%"), runs(ContractItem, at))
            .order_by(ContractItem.product_key, ContractItem.occurrence)
        )
        return [(item.product_key, item.occurrence, item.block_id) for item in items]


def numbers_there(pipeline: Pipeline) -> int:
    """Return how many numbers the fake registrar has for the only trunk."""
    [record] = pipeline.registrar.trunks.values()
    return len(record.numbers)


def test_numbers_at_once_reach_trunk_contract_history_registrar_and_mails(pipeline: Pipeline, trunk_id: int) -> None:
    pipeline.clock.advance(timedelta(hours=1))
    id = ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id) == [
        "numbers_received", "numbers_reserved", "numbers_added", "completed", "confirmed",
    ]  # fmt: skip
    block = block_of(pipeline, id)
    assert (block.trunk_id, block.size, block.area_code) == (trunk_id, 10, "030")
    assert numbers_there(pipeline) == 20
    assert block_lines(pipeline, trunk_id, pipeline.clock.now) == [("block-10", 1, None), ("block-10", 2, block.id)]
    with pipeline.runtime.database.transaction() as session:
        history = sa.select(NumberAssignment).where(NumberAssignment.block_id == block.id)
        told = session.scalars(history).one()
        assert (told.account_id, told.since, told.until) == (block.account_id, pipeline.clock.now, None)
        month = Month.of(berlin_day(pipeline.clock.now))
        account = session.get_one(Account, told.account_id)
        once = [charge.one_off_cents for charge in costs_of_account(session, account, month).charges]
        assert once.count(990) == 2
    [receipt, done] = pipeline.mailer.sent
    assert (receipt.recipient_address, done.recipient_address) == (pipeline.manager.email,) * 2
    for mail in (receipt, done):
        # Two lines of the same product are two lines.
        assert "35,70" in mail.text and "32,80" in mail.text and "9,90" in mail.text
    assert block.display in done.text.replace("\u2068", "").replace("\u2069", "")


def test_a_block_is_reserved_until_its_day_and_given_then(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 40)
    id = ask(pipeline, trunk_id, day=day)
    go_to(pipeline, pipeline.clock.now)
    block = block_of(pipeline, id)
    assert (block.account_id, block.trunk_id, block.available_from) == (None, None, RESERVED)
    request = pipeline.request(id)
    assert (request.due_at, request.is_scheduled(pipeline.clock.now)) == (first_moment(day), True)
    assert numbers_there(pipeline) == 10
    # Nobody else gets it, and the carrier does not withdraw it.
    with pipeline.runtime.database.transaction() as session:
        session.execute(
            sa.update(NumberBlock)
            .where(NumberBlock.account_id.is_(None), NumberBlock.id != block.id)
            .values(available_from=datetime.max.replace(tzinfo=pipeline.clock.now.tzinfo))
        )
        taken, kept = withdraw_from_pool(session, "030", str(block.first_number)[4:], 10, 1)
        assert (taken, [one.id for one in kept]) == (0, [block.id])
    other = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(other).reason is Reason.NO_NUMBERS_AVAILABLE
    go_to(pipeline, first_moment(day) - timedelta(seconds=1))
    assert block_of(pipeline, id).trunk_id is None
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert block_of(pipeline, id).trunk_id == trunk_id
    assert numbers_there(pipeline) == 20
    assert pipeline.codes(id)[:3] == ["numbers_scheduled", "numbers_reserved", "numbers_added"]


def test_taken_back_the_block_is_free_at_once(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, day=in_days(pipeline, 5))
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        [before] = [line for line in pool_levels(session, pipeline.clock.now, "030") if line.size == 10]
    take_back(pipeline, id)
    block = block_of(pipeline, id)
    assert (block.account_id, block.available_from) == (None, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        [after] = [line for line in pool_levels(session, pipeline.clock.now, "030") if line.size == 10]
    assert (after.free, after.given_out) == (before.free + 1, before.given_out - 1)
    assert after.quarantined == before.quarantined == 0
    go_to(pipeline, pipeline.clock.now + timedelta(days=10))
    assert pipeline.request(id).status is Status.CANCELLED
    assert numbers_there(pipeline) == 10
    # The same block can be reserved anew.
    again = ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(again).status is Status.COMPLETED


def test_numbers_that_wait_for_the_pool_are_named_before_the_account_goes(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, size=1)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.HELD
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        join(session, make_user(session), account)
        with pytest.raises(InvalidField) as error:
            submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now)
    assert (error.value.field, error.value.code) == ("effective_on", "change_is_lost")


def test_numbers_that_come_after_the_account_has_left_are_not_the_former_main_accounts(
    pipeline: Pipeline, trunk_id: int
) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        join(session, make_user(session), account)
        submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now, in_days(pipeline, 1))
    id = ask(pipeline, trunk_id, size=1)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.HELD
    go_to(pipeline, pipeline.clock.now + timedelta(days=2))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.NOT_ATTACHED)


def test_an_empty_pool_holds_the_request_until_it_is_stocked(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 3)
    id = ask(pipeline, trunk_id, size=1, day=day)
    go_to(pipeline, pipeline.clock.now)
    assert (pipeline.request(id).status, pipeline.request(id).reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    with pipeline.runtime.database.transaction() as session:
        account_id = session.get_one(SipTrunk, trunk_id).account_id
        month = Month.of(day)
        # Nobody knows when there will be some, and from when they cost.
        charges = costs_of_account(session, session.get_one(Account, account_id), month).charges
        assert "block-1" not in [charge.line.price.product_key for charge in charges]
        assert restock(session, "030", "77000001", 1, 1, pipeline.clock.now).retried == [id]
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.status, request.reason, request.is_scheduled(pipeline.clock.now)) == (
        Status.IN_PROGRESS,
        None,
        True,
    )
    assert block_of(pipeline, id).available_from == RESERVED
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED


def test_numbers_that_come_late_are_paid_from_when_they_come(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, size=1, day=in_days(pipeline, 3))
    go_to(pipeline, pipeline.clock.now + timedelta(days=20))
    with pipeline.runtime.database.transaction() as session:
        restock(session, "030", "77000001", 1, 1, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        begun = session.scalars(sa.select(ContractItem.started_at).where(ContractItem.product_key == "block-1")).one()
    assert begun == pipeline.clock.now


def near_munich(pipeline: Pipeline, trunk_id: int) -> None:
    """Move the trunk's account to Dachau, and add numbers of Dachau and of München to the pools."""
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        account.street, account.postal_code, account.city = "Münchner Str. 1", "85221", "Dachau"
        fill_pool(session, area_code="08131", first="200000", count=2)
        fill_pool(session, area_code="089", count=2)


def answer(pipeline: Pipeline, *, fits: bool) -> list[UUID]:
    """Answer as staff the only open question: whether an address lies in the area of an area code (`fits`).

    Return the ids of the requests that waited for the answer.
    """
    with pipeline.owner.transaction() as session:
        [question] = open_questions(session, 10)
        staff, now = principal_of(session, make_staff(session)), pipeline.clock.now
        return [one.id for one in answer_place_question(session, staff, question.id, now, fits=fits, seen=0)]


def test_a_second_area_code_is_given_where_the_address_allows_it(pipeline: Pipeline, trunk_id: int) -> None:
    near_munich(pipeline, trunk_id)
    for area_code, code in (("030", "area_code_mismatch"), ("09999", "unknown_area_code")):
        with pytest.raises(InvalidField) as refused:
            ask(pipeline, trunk_id, area_code=area_code)
        assert (refused.value.field, refused.value.code) == ("numbers.area_code", code)
    own, near = ask(pipeline, trunk_id, area_code="08131"), ask(pipeline, trunk_id, area_code="089")
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(own).status is Status.COMPLETED
    held = pipeline.request(near)
    assert (held.status, held.reason) == (Status.HELD, Reason.AREA_CODE_UNCONFIRMED)
    assert held.reserved_block_id is None
    assert answer(pipeline, fits=True) == [near]
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(near).status is Status.COMPLETED
    assert (block_of(pipeline, own).area_code, block_of(pipeline, near).area_code) == ("08131", "089")
    assert numbers_there(pipeline) == 30


def test_an_address_outside_the_ortsnetz_ends_the_request_and_names_what_fits(
    pipeline: Pipeline, trunk_id: int
) -> None:
    near_munich(pipeline, trunk_id)
    id = ask(pipeline, trunk_id, area_code="089")
    go_to(pipeline, pipeline.clock.now)
    assert answer(pipeline, fits=False) == [id]
    go_to(pipeline, pipeline.clock.now)
    ended = pipeline.request(id)
    assert (ended.status, ended.reason) == (Status.REJECTED, Reason.AREA_CODE_MISMATCH)
    assert "08131 (Dachau)" in pipeline.mailer.sent[-1].text.replace("\u2068", "").replace("\u2069", "")


def test_the_same_form_sent_twice_asks_once(pipeline: Pipeline, trunk_id: int) -> None:
    shown = "10-3280-3570-990"
    ask(pipeline, trunk_id, shown=shown)
    with pytest.raises(PricesChanged):
        ask(pipeline, trunk_id, shown=shown)


def test_changes_and_numbers_that_are_planned_count_in_each_others_prices(pipeline: Pipeline, trunk_id: int) -> None:
    first, second, third = (in_days(pipeline, days) for days in (10, 20, 30))
    now = pipeline.clock.now
    numbers = ask(pipeline, trunk_id, day=second)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        before, after = (
            submit_change(
                session, pipeline.manager, account, trunk_id, ChangeDraft("trunk-50", channels, day, "de"), now
            )
            for day, channels in ((first, 50), (third, 40))
        )
        sums = [
            (agreed_quote(change).before.costs.monthly.net, agreed_quote(change).after.costs.monthly.net)
            for change in (before, after)
        ]
    assert sums == [(3280, 10280), (10570, 10570)]
    more = ask(pipeline, trunk_id, day=third)
    for day in (first, second, third):
        go_to(pipeline, first_moment(day))
    done = [pipeline.request(id) for id in (numbers, before.id, after.id, more)]
    assert {request.status for request in done} == {Status.COMPLETED}
    assert numbers_there(pipeline) == 30
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account.id)
        month = Month.of(pipeline.clock.now.date() + timedelta(days=31))
        assert costs_of_account(session, account, month).net == 9990 + 3 * 290


def test_numbers_that_are_planned_for_later_hinder_no_change_from_being_taken_back(
    pipeline: Pipeline, trunk_id: int
) -> None:
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        draft = ChangeDraft("trunk-50", 50, in_days(pipeline, 10), "de")
        change = submit_change(session, pipeline.manager, account, trunk_id, draft, now).id
    numbers = ask(pipeline, trunk_id, day=in_days(pipeline, 20))
    take_back(pipeline, change)
    go_to(pipeline, first_moment(in_days(pipeline, 20)))
    assert pipeline.request(numbers).status is Status.COMPLETED
    # What is written down is what holds.
    before, after = (sum(line.monthly_cents for line in lines) for lines in agreed_lines(pipeline.request(numbers)))
    assert (before, after) == (3280, 3570)


def test_what_is_planned_costs_what_it_will_have_cost(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 40)
    ask(pipeline, trunk_id, day=day)
    pipeline.advance()

    def months() -> list[int]:
        with pipeline.runtime.database.transaction() as session:
            account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
            following = Month.of(day + timedelta(days=31))
            return [costs_of_account(session, account, month).net for month in (Month.of(day), following)]

    expected = months()
    go_to(pipeline, first_moment(day))
    assert months() == expected and expected[1] == 2990 + 2 * 290


def test_each_added_block_has_a_line_of_its_own_that_ends_with_it(pipeline: Pipeline, trunk_id: int) -> None:
    added = [ask(pipeline, trunk_id) for _ in range(2)]
    go_to(pipeline, pipeline.clock.now)
    blocks = [block_of(pipeline, id).id for id in added]
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        first = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.trunk_id == trunk_id)).all()
        [ordered] = set(first) - set(blocks)
        now = pipeline.clock.now
        release_numbers(session, pipeline.manager, account, blocks[0], now)
        release_numbers(session, pipeline.manager, account, ordered, now)
    assert block_lines(pipeline, trunk_id, pipeline.clock.now) == [("block-10", 3, blocks[1])]


def test_the_contract_ends_after_what_is_planned_and_nothing_comes_after(pipeline: Pipeline, trunk_id: int) -> None:
    day, last, now = in_days(pipeline, 60), in_days(pipeline, 80), pipeline.clock.now
    ask(pipeline, trunk_id, day=day)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        with pytest.raises(InvalidField) as refused:
            submit_cancellation(session, pipeline.manager, account, day - timedelta(days=1), "de", now)
        assert (refused.value.code, refused.value.allowed) == ("change_planned", day)
        ending = submit_cancellation(session, pipeline.manager, account, last, "de", now).id
    with pytest.raises(InvalidField) as late:
        ask(pipeline, trunk_id, day=last + timedelta(days=1))
    assert late.value.code == "contract_ends"
    # After weeks without workers both are due at once: the numbers come first, and rest with the others.
    go_to(pipeline, first_moment(last + timedelta(days=20)))
    go_to(pipeline, pipeline.clock.now + timedelta(seconds=5))
    assert pipeline.request(ending).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).where(NumberBlock.trunk_id == trunk_id)) == 0
        resting = sa.select(sa.func.count()).where(NumberBlock.available_from == pipeline.clock.now + QUARANTINE)
        assert session.scalar(resting) in (1, 2)


def test_a_trunk_that_is_closed_gets_nothing_and_the_block_is_free_again(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 5)
    id = ask(pipeline, trunk_id, day=day)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        close_trunk(session.get_one(SipTrunk, trunk_id), pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    assert (pipeline.request(id).status, pipeline.request(id).reason) == (Status.REJECTED, Reason.TRUNK_CLOSED)
    assert block_of(pipeline, id).available_from == pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        lines = sa.select(sa.func.count()).select_from(ContractItem).where(ContractItem.block_id.is_not(None))
        assert session.scalar(lines) == 0


def test_people_of_the_account_and_its_main_account_see_and_take_back(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, day=in_days(pipeline, 5))
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        own, stranger = make_user(session), make_user(session)
        join(session, own, account)
        request = session.get_one(Request, id)
        for person, expected in ((own, True), (stranger, False)):
            principal = principal_of(session, session.get_one(User, person.id))
            assert (concerns(session, principal, request), may_change(session, principal, request)) == (expected,) * 2
        detach(session, pipeline.main.id, account.id)
        session.flush()
        assert not may_change(session, pipeline.manager, request)
        with pytest.raises(Forbidden):
            submit_numbers(
                session, pipeline.manager, account, trunk_id, NumbersDraft("030", 10, None, "de"), pipeline.clock.now
            )


def test_the_contract_stays_one(pipeline: Pipeline, trunk_id: int) -> None:
    ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Contract)) == 1
