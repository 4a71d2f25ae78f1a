"""Tests of the scheduled job `requests`: it reports requests that stand still, kill workers, or are held for long."""

from __future__ import annotations

import uuid
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.db.work_queue import WorkKind, claim_due
from models.requests.requests import Request
from models.states import ProofMethod, Reason, Status
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tasks.wording.findings import finding_text
from tests.factories import a_link, an_order, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import DAY, MINUTE, changing, finds
from tests.tasks.reconcile.test_proofs_job import asleep


def test_nothing_stands_still_where_everything_works(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(30 * DAY)
    pipeline.told.clear()
    assert finds(pipeline, "requests") == []
    assert WorkKind.VERIFY not in pipeline.told


def test_what_nobody_picked_up_is_hinted_at(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    due_at = pipeline.request(id).due_at
    pipeline.clock.advance(4 * MINUTE)
    finds(pipeline, "requests")
    pipeline.clock.advance(2 * MINUTE)
    pipeline.told.clear()
    [finding] = finds(pipeline, "requests", "not_picked_up")
    assert (finding.subject, finding.repaired) == (str(id), True)
    assert pipeline.request(id).due_at == due_at
    assert WorkKind.VERIFY in pipeline.told
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    finds(pipeline, "requests")


def test_a_request_that_kills_its_workers_is_seen(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    for _ in range(pipeline.runtime.retry.patience + 1):
        with pipeline.runtime.database.transaction() as session:
            now = pipeline.clock.now
            claimed = claim_due(session, Request, now=now, lease=uuid4(), until=now + MINUTE, limit=1)
        assert claimed == [id]
        pipeline.clock.advance(MINUTE)
    with changing(pipeline) as session:
        session.get_one(Request, id).begin(pipeline.clock.now)
    found = finds(pipeline, "requests", "left_by_worker", "tried_often")
    [finding] = [one for one in found if one.kind == "tried_often"]
    assert (finding.subject, finding.repaired) == (str(id), False)
    assert "12 Versuchen" in finding_text(finding, "de")
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    finds(pipeline, "requests")


def test_what_a_worker_left_lying_is_taken_from_it(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with changing(pipeline) as session:
        request = session.get_one(Request, id)
        request.lease, request.due_at = uuid.uuid4(), pipeline.clock.now + MINUTE
    finds(pipeline, "requests")
    pipeline.clock.advance(3 * MINUTE)
    [finding] = finds(pipeline, "requests", "left_by_worker")
    assert finding.repaired
    assert pipeline.request(id).lease is None
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_who_waits_past_the_deadline_is_woken_and_the_step_decides(pipeline: Pipeline) -> None:
    with changing(pipeline) as session:
        account = make_account(session, administrator=make_user(session))
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    asleep(pipeline, id)
    pipeline.clock.advance(13 * DAY)
    finds(pipeline, "requests")
    pipeline.clock.advance(2 * DAY)
    [finding] = finds(pipeline, "requests", "past_deadline")
    assert finding.repaired
    pipeline.advance()
    assert (pipeline.request(id).status, pipeline.request(id).reason) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    finds(pipeline, "requests")


def test_what_is_held_for_long_is_for_the_back_office(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [ValueError("a bug")] * 2
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.HELD
    finds(pipeline, "requests")
    pipeline.clock.advance(DAY + MINUTE)
    for _ in range(2):
        [finding] = finds(pipeline, "requests", "held_long")
        assert not finding.repaired
    assert pipeline.request(id).due_at is None


def test_a_held_request_rests_also_when_its_promised_day_has_passed(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [ValueError("a bug")] * 2
    id = pipeline.order(an_order())
    pipeline.advance()
    until = pipeline.request(id).waiting_until
    assert until is not None
    pipeline.clock.advance(until - pipeline.clock.now + DAY)
    finds(pipeline, "requests", "held_long")
    assert pipeline.request(id).due_at is None


def test_more_requests_than_a_page_are_all_seen(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.reconcile.request_batches.PAGE", 2)
    for _ in range(5):
        pipeline.order(an_order())
    pipeline.clock.advance(6 * MINUTE)
    assert len(finds(pipeline, "requests", *["not_picked_up"] * 5)) == 5


def test_what_a_worker_has_locked_at_this_moment_does_not_stand_still(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    pipeline.clock.advance(6 * MINUTE)
    with changing(pipeline) as session:
        session.get_one(Request, id, with_for_update=True)
        finds(pipeline, "requests")
    finds(pipeline, "requests", "not_picked_up")


def test_a_block_that_is_reserved_for_nobody_is_freed(pipeline: Pipeline) -> None:
    with changing(pipeline) as session:
        blocks = session.scalars(sa.select(NumberBlock).order_by(NumberBlock.id).limit(2)).all()
        blocks[0].available_from = RESERVED
        forgotten, number = blocks[0].id, f"+{blocks[0].first_number}"
    pipeline.order(an_order())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
        draft = NumbersDraft("030", 10, berlin_day(pipeline.clock.now + 30 * DAY), "de")
        account = session.get_one(Account, trunk.account_id)
        id = submit_numbers(session, pipeline.manager, account, trunk.id, draft, pipeline.clock.now).id
    pipeline.advance()
    [finding] = finds(pipeline, "requests", "block_reserved_for_nobody")
    assert (finding.subject, finding.repaired) == (number, True)
    assert number in finding_text(finding, "de")
    assert finds(pipeline, "requests") == []
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, forgotten).available_from == pipeline.clock.now
        kept = session.get_one(NumberBlock, session.get_one(Request, id).reserved_block_id)
        assert kept.available_from == RESERVED
