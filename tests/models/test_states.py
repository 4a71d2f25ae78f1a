"""Tests of a request's changes of status.

A request that has ended stays as it is. Only held and failed requests can be retried. Constraints of the database
refuse a status that no worker and no person would ever look at.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.errors import IllegalTransition, TooLate
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import ENDED, TRANSITIONS, Actor, Reason, Status, StepName
from tests.factories import NOW, an_order, make_main, submit_order
from tests.models.accounts.test_hierarchy import refused_by

Verb = Callable[[Request], None]

END: dict[Status, Verb] = {
    Status.COMPLETED: lambda request: request.complete(NOW),
    Status.REJECTED: lambda request: request.reject(Reason.AREA_CODE_MISMATCH, NOW),
    Status.CANCELLED: lambda request: request.cancel(Reason.CANCELLED_BY_REQUESTER, NOW),
    Status.FAILED: lambda request: request.fail(Reason.GATEWAY_REFUSED, NOW),
}

VERBS: dict[str, Verb] = {
    "go_on": lambda request: request.go_on(StepName.ATTACH, NOW),
    "wait_for": lambda request: request.wait_for(Actor.REQUESTER, Reason.AREA_CODE_MISMATCH, NOW, NOW, NOW),
    "hold": lambda request: request.hold(Reason.INTERNAL_ERROR, NOW),
    "complete": END[Status.COMPLETED],
    "reject": END[Status.REJECTED],
    "cancel": END[Status.CANCELLED],
    "fail": END[Status.FAILED],
    "retry": lambda request: request.retry(NOW),
}


@pytest.fixture
def order(database: Database) -> UUID:
    """Create an order that no worker has processed yet; return its id."""
    with database.transaction() as session:
        main, manager = make_main(session)
        return submit_order(session, manager, main, an_order(), NOW).id


def facts(database: Database, id: UUID) -> tuple[Status, int]:
    """Return the request's status and the number of its timeline entries."""
    with database.transaction() as session:
        lines = sa.select(sa.func.count()).where(TimelineEntry.request_id == id)
        return session.get_one(Request, id).status, session.scalar(lines) or 0


def test_the_table_knows_every_status_and_every_request_can_come_to_an_end() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert {status for status in Status if not TRANSITIONS[status]} == ENDED - {Status.FAILED}
    assert all(ways & ENDED for status, ways in TRANSITIONS.items() if status not in ENDED)
    assert frozenset.union(*TRANSITIONS.values()) == set(Status) - {Status.ACKNOWLEDGED}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("end", sorted(ENDED - {Status.FAILED}))
def test_an_end_is_final(database: Database, order: UUID, end: Status, verb: str) -> None:
    with database.transaction() as session:
        END[end](session.get_one(Request, order))
    before = facts(database, order)
    assert before[0] is end
    with pytest.raises((IllegalTransition, TooLate)), database.transaction() as session:
        VERBS[verb](session.get_one(Request, order))
    assert facts(database, order) == before


def test_what_has_failed_is_tried_again_when_somebody_says_so(database: Database, order: UUID) -> None:
    with database.transaction() as session:
        END[Status.FAILED](session.get_one(Request, order))
    for verb in ("wait_for", "reject", "fail"):
        with pytest.raises((IllegalTransition, TooLate)), database.transaction() as session:
            VERBS[verb](session.get_one(Request, order))
    with database.transaction() as session:
        request = session.get_one(Request, order)
        request.retry(NOW + timedelta(days=1))
        assert (request.status, request.reason, request.ended_at) == (Status.IN_PROGRESS, None, None)
        assert request.due_at == NOW + timedelta(days=1)


def test_what_has_failed_can_be_called_off(database: Database, order: UUID) -> None:
    with database.transaction() as session:
        END[Status.FAILED](session.get_one(Request, order))
    with database.transaction() as session:
        END[Status.CANCELLED](session.get_one(Request, order))
    assert facts(database, order)[0] is Status.CANCELLED


def test_only_what_stands_still_is_tried_again(database: Database, order: UUID) -> None:
    with pytest.raises(IllegalTransition) as caught, database.transaction() as session:
        VERBS["retry"](session.get_one(Request, order))
    assert (caught.value.now, caught.value.then) == (Status.ACKNOWLEDGED, Status.IN_PROGRESS)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("due_at = NULL", "ck_requests_never_stands_still"),
        ("status = 'held'", "ck_requests_reason_given"),
        ("status = 'pending', reason = 'area_code_mismatch'", "ck_requests_pending_waits"),
        ("waiting_for = 'requester'", "ck_requests_pending_waits"),
        ("status = 'completed', due_at = NULL", "ck_requests_end_has_time"),
        ("status = 'completed', ended_at = now()", "ck_requests_end_is_not_due"),
        ("status = 'held', reason = 'internal_error', due_at = NULL, lease = uuidv7()", "ck_requests_lease_ends"),
        ("reason = 'internal_error'", "ck_requests_reason_given"),
        ("status = 'lost'", "ck_requests_status"),
    ],
)
def test_sql_cannot_put_a_request_where_nobody_looks(
    database: Database, order: UUID, change: str, constraint: str
) -> None:
    assert refused_by(database, f"UPDATE requests SET {change} WHERE id = :id", id=order) == constraint
