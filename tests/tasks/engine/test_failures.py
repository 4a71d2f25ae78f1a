"""Tests of requests while the telephone network, a mail server or a worker fails, or a step has a bug."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from celery.exceptions import SoftTimeLimitExceeded

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.jobs.outages import LONGEST
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.requests.requests import Request
from models.states import AccountState, Reason, Status, StepName
from models.telephony.number_pool import QUARANTINE, SET_ASIDE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.engine import advance
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, NumberTaken, TrunkRecord
from tasks.steps.step import Outcome, Work
from tests.factories import an_order, fill_pool
from tests.tasks.conftest import Pipeline
from tests.tasks.engine.test_advance import ORDER_CODES


def test_an_empty_pool_holds_the_order_until_there_are_numbers(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(block_size=100))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    again = request.due_at
    assert again is not None
    pipeline.clock.now = again
    pipeline.advance()
    assert pipeline.codes(id).count("held") == 1
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, size=100, area_code="030", count=1, first="30000000")
    pipeline.clock.advance(timedelta(hours=1))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def _failed_attempts(pipeline: Pipeline, id: UUID, count: int) -> list[timedelta]:
    pauses = []
    for _ in range(count):
        pipeline.advance()
        due = pipeline.request(id).due_at
        assert due is not None
        pauses.append(due - pipeline.clock.now)
        # All leave the registrar alone for a while, at most for `LONGEST`.
        pipeline.clock.now = due + LONGEST
    return pauses


def test_what_can_heal_is_tried_again_with_growing_pauses_and_held_in_the_end(pipeline: Pipeline) -> None:
    policy = pipeline.runtime.retry
    pipeline.registrar.failures = [GatewayUnavailable("away")] * (policy.patience + 1)
    id = pipeline.order(an_order())
    pauses = _failed_attempts(pipeline, id, policy.patience - 1)
    for attempt, pause in enumerate(pauses):
        plain = min(policy.first * 2**attempt, policy.ceiling)
        assert plain * 0.8 <= pause <= plain * 1.2
    assert pipeline.request(id).status is Status.IN_PROGRESS
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_UNAVAILABLE)
    assert pipeline.codes(id) == ["order_received", "order_verified", "retrying", "held"]
    assert request.due_at == pipeline.clock.now + policy.while_held
    pipeline.clock.now = request.due_at + LONGEST
    pipeline.registrar.failures = []
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert len(pipeline.registrar.writes) == 1


def test_numbers_that_are_somebody_elses_are_set_aside_and_others_drawn(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [NumberTaken("taken")] * 2
    ids = [pipeline.order(an_order()) for _ in range(3)]
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
    with pipeline.runtime.database.transaction() as session:
        aside = session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from == SET_ASIDE)).all()
        assert [(block.account_id, block.trunk_id) for block in aside] == [(None, None)] * 2
        drawn = session.scalars(sa.select(NumberBlock.trunk_id).where(NumberBlock.trunk_id.is_not(None))).all()
        assert len(set(drawn)) == 3
    run = pipeline.run("registrar")
    assert (run.found["block_set_aside"], run.unrepaired) == (2, 2)
    pipeline.clock.advance(timedelta(days=3650))
    pipeline.advance()
    assert pipeline.run("registrar").found["block_set_aside"] == 2


def test_what_the_telephone_network_refuses_fails_and_the_back_office_can_try_again(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = pipeline.order(an_order())
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason, request.step) == (
        Status.FAILED,
        Reason.GATEWAY_REFUSED,
        StepName.PROVISION,
    )
    with pipeline.runtime.database.transaction() as session:
        session.merge(request).retry(pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_mail_that_has_left_is_not_sent_again(pipeline: Pipeline) -> None:
    pipeline.mailer.failures = {"hanna.palmer@example.com": [GatewayUnavailable("away")]}
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id).count("confirmed") == 1
    pipeline.clock.advance(timedelta(minutes=1))
    pipeline.advance()
    assert pipeline.codes(id).count("confirmed") == 2
    assert sorted(mail.recipient_address for mail in pipeline.mailer.but_receipts) == sorted(
        [pipeline.manager.email, "hanna.palmer@example.com"]
    )


def test_a_refused_address_does_not_stop_the_order(pipeline: Pipeline) -> None:
    pipeline.mailer.failures = {"hanna.palmer@example.com": [GatewayRefused("550")]}
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert "mail_refused" in pipeline.codes(id)
    with pipeline.runtime.database.transaction() as session:
        states = {message.recipient_address: message.state for message in session.scalars(sa.select(Message))}
    assert states == {"hanna.palmer@example.com": "refused", pipeline.manager.email: "sent"}


def test_a_bug_holds_its_own_request_and_no_other(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [pipeline.order(an_order()) for _ in range(5)]
    real = advance.STEPS[StepName.ATTACH]

    def broken(work: Work, request: object) -> Outcome:
        assert isinstance(request, Request)
        if request.id == ids[2]:
            raise ZeroDivisionError
        return real(work, request)

    monkeypatch.setattr(advance, "STEPS", {**advance.STEPS, StepName.ATTACH: broken})
    pipeline.advance()
    statuses = [pipeline.request(id).status for id in ids]
    assert statuses == [Status.COMPLETED, Status.COMPLETED, Status.HELD, Status.COMPLETED, Status.COMPLETED]
    assert pipeline.request(ids[2]).reason is Reason.INTERNAL_ERROR
    assert len(pipeline.registrar.writes) == 5


def test_a_gateway_with_a_bug_holds_one_request_and_no_other(pipeline: Pipeline) -> None:
    # Once for both together, and once for the first when each is tried alone.
    pipeline.registrar.failures = [ValueError("a bug")] * 2
    ids = [pipeline.order(an_order()) for _ in range(2)]
    pipeline.advance()
    assert [pipeline.request(id).status for id in ids] == [Status.HELD, Status.COMPLETED]
    assert pipeline.request(ids[0]).reason is Reason.INTERNAL_ERROR


def test_what_is_done_after_the_lease_is_lost_is_not_recorded(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    real = pipeline.registrar.put_trunks

    def slow(records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        # While this worker waits for the registrar, its lease ends and another one does the work.
        pipeline.registrar.put_trunks = real  # type: ignore[method-assign]
        pipeline.clock.advance(pipeline.runtime.lease)
        pipeline.advance()
        return real(records)

    pipeline.registrar.put_trunks = slow  # type: ignore[method-assign]
    pipeline.advance()
    assert pipeline.codes(id) == ORDER_CODES
    assert len(pipeline.mailer.but_receipts) == 2


def _tried_again(pipeline: Pipeline, id: UUID) -> None:
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).retry(pipeline.clock.now)
    pipeline.advance()


def test_what_is_refused_again_ends_again_and_its_requester_hears_of_it(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")] * 3
    id = pipeline.order(an_order())
    pipeline.advance()
    for _ in range(2):
        _tried_again(pipeline, id)
        assert pipeline.request(id).status is Status.FAILED
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == [pipeline.manager.email] * 3
    _tried_again(pipeline, id)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_failed_order_can_be_called_off_and_gives_everything_back(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = pipeline.order(an_order())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_BACK_OFFICE, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert request.status is Status.CANCELLED
        assert session.get_one(Account, request.account_id).state is AccountState.CLOSED
        trunk = session.scalars(sa.select(SipTrunk)).one()
        assert (trunk.state, trunk.due_at) == (TrunkState.CLOSED, pipeline.clock.now)
        assert session.get_one(Contract, trunk.contract_id).ended_at is not None
        blocks = session.scalars(sa.select(NumberBlock)).all()
        assert all(block.account_id is None for block in blocks)
        assert [block.available_from for block in blocks].count(pipeline.clock.now + QUARANTINE) == 1


def test_the_end_of_a_tasks_time_is_no_bug_of_a_request(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [pipeline.order(an_order()) for _ in range(2)]

    verify = advance.STEPS[StepName.VERIFY]
    signals = iter([SoftTimeLimitExceeded()])

    def out_of_time(work: Work, request: Request) -> Outcome:
        # Celery raises it once, wherever the task is at that moment.
        for signal in signals:
            raise signal
        return verify(work, request)

    with monkeypatch.context() as late:
        late.setitem(advance.STEPS, StepName.VERIFY, out_of_time)
        with pytest.raises(SoftTimeLimitExceeded):
            pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.ACKNOWLEDGED}
    pipeline.clock.advance(pipeline.runtime.lease)
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}


def test_one_by_one_a_batch_ends_in_time_and_gives_the_rest_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [pipeline.order(an_order()) for _ in range(3)]
    monkeypatch.setattr(advance, "ONE_BY_ONE", 0)

    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setitem(advance.STEPS, StepName.VERIFY, breaks)
        pipeline.advance()
    assert {(pipeline.request(id).status, pipeline.request(id).lease) for id in ids} == {(Status.ACKNOWLEDGED, None)}
    pipeline.clock.advance(timedelta(seconds=1))
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
