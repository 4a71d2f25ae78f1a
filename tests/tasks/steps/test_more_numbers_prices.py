"""Tests of what more numbers cost, from the day on which the trunk gets them, and of their contract."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import Month, first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.quotes import agreed_lines, agreed_quote
from models.contracts.contracts import Contract, ContractItem
from models.errors import InvalidField
from models.orders.number_release import release_numbers
from models.orders.restocking import restock
from models.states import Status
from models.telephony.number_pool import QUARANTINE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from models.views.account_costs import costs_of_account
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.asking_numbers import (
    ask,
    block_lines,
    block_of,
    numbers_there,
    take_back,
)
from tests.tasks.steps.asking_numbers import trunk_id as trunk_id
from tests.tasks.steps.test_change import go_to, in_days


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


def test_the_contract_stays_one(pipeline: Pipeline, trunk_id: int) -> None:
    ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Contract)) == 1
