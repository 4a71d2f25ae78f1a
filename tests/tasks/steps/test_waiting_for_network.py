"""Tests that changes and more numbers are confirmed once the registrar has them, and that refused numbers are replaced.

For moves, this is tested in `test_move.py` and `test_move_numbers.py`.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.changes.cancellations import submit_cancellation
from models.contracts.contracts import ContractItem
from models.errors import AlreadyRequested
from models.states import AccountState, Reason, Status, StepName
from models.telephony.number_pool import SET_ASIDE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.ports import GatewayError, NumberTaken
from tests.tasks.conftest import Pipeline
from tests.tasks.steps import asking_numbers
from tests.tasks.steps.asking_numbers import block_of
from tests.tasks.steps.asking_numbers import trunk_id as trunk_id
from tests.tasks.steps.test_change import ask, channels_of, go_to, in_days

REFUSED = NumberTaken("number_of_another_trunk")


def test_a_change_is_confirmed_once_the_network_has_it(pipeline: Pipeline, trunk_id: int) -> None:
    id = ask(pipeline, trunk_id, "trunk-50", channels=30)
    pipeline.registrar.failures = [REFUSED] * 2
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert channels_of(pipeline, trunk_id) == 30
    assert (request.status, request.step, request.can_cancel) == (Status.IN_PROGRESS, StepName.CONFIRM, False)
    assert "confirmed" not in pipeline.codes(id)
    # One at a time takes effect at once; one on a day finds this one made.
    with pytest.raises(AlreadyRequested, match=str(id)):
        ask(pipeline, trunk_id, "trunk-50", channels=20)
    day = in_days(pipeline, 5)
    next_id = ask(pipeline, trunk_id, "trunk-50", day, channels=20)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=2))
    assert pipeline.request(id).status is Status.COMPLETED
    go_to(pipeline, first_moment(day))
    assert pipeline.request(next_id).status is Status.COMPLETED and channels_of(pipeline, trunk_id) == 20
    assert [record.channels for record in pipeline.registrar.trunks.values()] == [20]


@pytest.mark.parametrize("failure", [REFUSED, GatewayError("away")])
def test_a_change_that_the_network_does_not_take_is_held_and_told(
    pipeline: Pipeline, trunk_id: int, failure: GatewayError
) -> None:
    id = ask(pipeline, trunk_id, "trunk-50", channels=30)
    pipeline.registrar.failures = [failure] * 4
    go_to(pipeline, pipeline.clock.now)
    pipeline.mailer.sent.clear()
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    request = pipeline.request(id)
    assert (request.status, request.step) == (Status.HELD, StepName.CONFIRM)
    assert request.reason in (Reason.GATEWAY_REFUSED, Reason.GATEWAY_UNAVAILABLE)
    [told] = pipeline.mailer.sent
    assert told.recipient_address == pipeline.manager.email
    for _ in range(6):
        go_to(pipeline, pipeline.clock.now + timedelta(minutes=10))
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_new_number_that_the_registrar_knows_as_somebodys_is_set_aside_and_replaced(
    pipeline: Pipeline, trunk_id: int
) -> None:
    day = in_days(pipeline, 10)
    id = asking_numbers.ask(pipeline, trunk_id, day=day)
    go_to(pipeline, pipeline.clock.now)
    reserved = block_of(pipeline, id)
    pipeline.registrar.taken = {reserved.numbers[4]}
    go_to(pipeline, first_moment(day))
    go_to(pipeline, first_moment(day) + timedelta(seconds=30))
    assert pipeline.request(id).status is Status.COMPLETED
    new = block_of(pipeline, id)
    assert new.id != reserved.id and (new.trunk_id, new.area_code, new.size) == (trunk_id, "030", 10)
    [record] = pipeline.registrar.trunks.values()
    assert len(record.numbers) == 20 and set(new.numbers) < set(record.numbers)
    with pipeline.runtime.database.transaction() as session:
        aside = session.get_one(NumberBlock, reserved.id)
        assert (aside.account_id, aside.trunk_id, aside.available_from) == (None, None, SET_ASIDE)
        lines = sa.select(ContractItem.block_id).where(ContractItem.block_id.in_((reserved.id, new.id)))
        assert session.scalars(lines).all() == [new.id]
    assert "numbers_replaced" in pipeline.codes(id)
    assert new.display in pipeline.mailer.sent[-1].text.replace("\u2068", "").replace("\u2069", "")


def test_numbers_that_the_trunk_had_before_are_not_replaced(pipeline: Pipeline, trunk_id: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        [old] = session.scalars(sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk_id)).all()
    id = asking_numbers.ask(pipeline, trunk_id)
    pipeline.registrar.taken = {old.numbers[0]}
    go_to(pipeline, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_REFUSED)
    assert "numbers_replaced" not in pipeline.codes(id)


def test_a_cancellation_does_not_wait_for_a_change_that_only_the_network_lacks(
    pipeline: Pipeline, trunk_id: int
) -> None:
    id = ask(pipeline, trunk_id, "trunk-50", channels=30)
    pipeline.registrar.failures = [REFUSED] * 50
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        now = pipeline.clock.now
        end = submit_cancellation(session, pipeline.manager, account, None, "de", now)
    go_to(pipeline, end.effective_at)
    assert pipeline.request(end.id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account.id).state is AccountState.CLOSED
    # A closed trunk is not waited for.
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=30))
    assert pipeline.request(id).status is Status.COMPLETED
