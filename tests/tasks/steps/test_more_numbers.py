"""Tests of requests for more numbers, at once or from a later day on.

The block is reserved until that day, and free again if the request is cancelled. An empty pool holds the request.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import Month, berlin_day, first_moment
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.contracts.contracts import ContractItem
from models.errors import Forbidden, InvalidField, PricesChanged
from models.links.links import submit_detach
from models.orders.restocking import pool_levels, restock
from models.people.users import User, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import RESERVED, withdraw_from_pool
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, close_trunk
from models.views.account_costs import costs_of_account
from tests.factories import an_order, join, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.asking_numbers import (
    answer,
    ask,
    block_lines,
    block_of,
    near_munich,
    numbers_there,
    take_back,
)
from tests.tasks.steps.asking_numbers import trunk_id as trunk_id
from tests.tasks.steps.test_change import go_to, in_days


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
