"""The engine that runs the steps of requests: claim, run, record, go to the next step.

`advance` claims the longest-waiting due requests, a batch at a time, and alternates two phases. A transaction records
the results of external calls, runs the steps that need only the database and prepares further calls; then those calls
are made with no transaction open. This repeats until no request has a call left. An order whose proofs are complete
takes the claim and two transactions, shared by its batch.

A worker that dies loses and doubles nothing: what was not committed did not happen, a claim ends with its lease, and
every external call is safe to repeat.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from models.db.work_queue import claim_due
from models.errors import RuleBroken
from models.orders.orders import blocks_wanted, discard_ordered_account
from models.proofs.proofs import ProofBook
from models.requests.requests import Request, still_ours
from models.states import ENDED, Reason, Status, StepName, step_after
from models.telephony.number_pool import NumberPool
from tasks import metrics
from tasks.ports import GatewayError, GatewayRefused
from tasks.runtime import Runtime
from tasks.steps.attach import attach
from tasks.steps.confirm import confirm, queue_end_mails
from tasks.steps.detach import detach
from tasks.steps.provision import provision
from tasks.steps.step import Call, Hold, Step, Wait, Work
from tasks.steps.verify import verify

log = structlog.get_logger()

STEPS: Mapping[StepName, Step] = {
    StepName.VERIFY: verify,
    StepName.PROVISION: provision,
    StepName.ATTACH: attach,
    StepName.DETACH: detach,
    StepName.CONFIRM: confirm,
}


BULK_BATCHES = 2
"""Size of a batch of bulk requests, in ordinary batches: larger, so that more requests share each statement."""


@dataclass(frozen=True, slots=True)
class Item:
    """A claimed request, with its external call, if any, and the error of that call; None if it succeeded."""

    id: uuid.UUID
    step: StepName | None = None
    call: Call | None = None
    failure: GatewayError | None = None


def advance(runtime: Runtime, more_due: Callable[[], object], *, alone: bool = False) -> None:
    """Claim a batch of due requests and run their steps until each waits, is held or has ended.

    `more_due` is called after claiming a full batch, because more requests may be due. With `alone` only requests
    that belong to no bulk are claimed. Safe to run twice, late or when nothing is due.
    """
    lease, now = uuid.uuid4(), runtime.clock()
    most = 0 if alone else runtime.batch * BULK_BATCHES
    with runtime.database.transaction() as session:
        ids = claim_due(
            session,
            Request,
            now=now,
            lease=lease,
            until=now + runtime.lease,
            limit=runtime.batch,
            with_bulks=most,
        )
    if len(ids) >= runtime.batch:
        more_due()
    waiting = _transact(runtime, lease, [Item(id) for id in ids])
    while waiting:
        waiting = _transact(runtime, lease, _make_calls(runtime, lease, waiting))


def _transact(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    """Run steps in one transaction for all items; if that fails, in one for each. Return items with calls to make."""
    if not items:
        return []
    try:
        return _run_steps(runtime, lease, items)
    except Exception as error:
        log.warning("batch.split", size=len(items), error=repr(error))
    left = []
    for item in items:
        try:
            left += _run_steps(runtime, lease, [item])
        except Exception as error:
            _record_error(runtime, lease, item.id, error)
    return left


def _run_steps(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    by_id = {item.id: item for item in items}
    left = []
    with runtime.database.transaction() as session:
        requests = still_ours(session, list(by_id), lease)
        work = _open_work(runtime, session, requests)
        if len(requests) < len(items):
            work.after_commit(log.warning, "lease.lost", count=len(items) - len(requests))
        for request in requests:
            call = _run_request(work, request, by_id[request.id])
            if call is not None:
                left.append(Item(request.id, request.step, call))
    for callback in work.committed_callbacks:
        callback()
    return left


def _open_work(runtime: Runtime, session: Session, requests: Sequence[Request]) -> Work:
    now = runtime.clock()
    pool = NumberPool(session, now, blocks_wanted(requests))
    return Work(session, now, runtime, pool, ProofBook(session, requests))


def _run_request(work: Work, request: Request, item: Item) -> Call | None:
    """Record the result of the call that was made, if any, then run the steps of the request one after the other.

    Returns the next external call to make; None if the request has ended or waits.
    """
    request.begin(work.now)
    try:
        if item.call is not None:
            item.call.record(work, request, done=item.failure is None)
            if not _succeeded(work, request, item.failure):
                return None
            _go_to_next_step(work, request)
        while request.status not in ENDED:
            outcome = STEPS[request.step](work, request)
            if outcome is not None:
                return _apply_outcome(work, request, outcome)
            _go_to_next_step(work, request)
    except RuleBroken as error:
        request.reject(error.reason, work.now)
        _finish(work, request)
    return None


def _apply_outcome(work: Work, request: Request, outcome: Call | Wait | Hold) -> Call | None:
    match outcome:
        case Wait(actor, reason, until, again_at):
            request.wait_for(actor, reason, until, work.now, again_at)
        case Hold(reason, again_after):
            request.hold(reason, work.now, work.now + again_after)
        case call:
            return call
    _log_after_commit(work, request, f"request.{request.status}", reason=request.reason)
    return None


def _go_to_next_step(work: Work, request: Request) -> None:
    done = request.step
    took = (work.runtime.clock() - request.updated_at).total_seconds()
    work.after_commit(metrics.STEP_SECONDS.labels(done).observe, took)
    _log_after_commit(work, request, "step.done")
    following = step_after(request.kind, done)
    if following is None:
        request.complete(work.now)
        _finish(work, request)
    else:
        request.go_on(following, work.now)


def _finish(work: Work, request: Request) -> None:
    if request.status is not Status.FAILED:
        discard_ordered_account(request, work.now)
    if request.status is not Status.COMPLETED:
        queue_end_mails(work, request)
    work.after_commit(metrics.ENDED.labels(request.kind, request.status).inc)
    took = (work.now - request.created_at).total_seconds()
    _log_after_commit(work, request, f"request.{request.status}", reason=request.reason, took=round(took, 3))


def _succeeded(work: Work, request: Request, failure: GatewayError | None) -> bool:
    if failure is None:
        return True
    work.after_commit(log.warning, "call.failed", request=str(request.id), step=request.step, error=repr(failure))
    if isinstance(failure, GatewayRefused):
        request.fail(Reason.GATEWAY_REFUSED, work.now)
        _finish(work, request)
    else:
        _schedule_retry(work, request, Reason.GATEWAY_UNAVAILABLE)
    return False


def _schedule_retry(work: Work, request: Request, reason: Reason) -> None:
    policy = work.runtime.retry
    work.after_commit(metrics.RETRIES.labels(request.step).inc)
    if policy.exhausted(request.attempts + 1):
        request.hold(reason, work.now, work.now + policy.while_held)
    else:
        request.try_again(work.now + policy.pause(request.attempts + 1), work.now)


def _log_after_commit(work: Work, request: Request, event: str, **facts: object) -> None:
    work.after_commit(log.info, event, request=str(request.id), step=str(request.step), **facts)


def _make_calls(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    """Make the external calls, grouped by step; if a group raises, make its calls one by one."""
    by_step: dict[StepName, list[Item]] = {}
    for item in items:
        assert item.step is not None
        by_step.setdefault(item.step, []).append(item)
    made = []
    for together in by_step.values():
        try:
            made += _make_together(runtime, together)
        except Exception as error:
            log.warning("calls.split", size=len(together), error=repr(error))
            made += _make_one_by_one(runtime, lease, together)
    return made


def _make_one_by_one(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    made = []
    for item in items:
        try:
            made += _make_together(runtime, [item])
        except Exception as error:
            _record_error(runtime, lease, item.id, error)
    return made


def _make_together(runtime: Runtime, items: Sequence[Item]) -> list[Item]:
    calls = [item.call for item in items if item.call is not None]
    failures = calls[0].make(calls, runtime.ports)
    return [replace(item, failure=failure) for item, failure in zip(items, failures, strict=True)]


def _record_error(runtime: Runtime, lease: uuid.UUID, id: uuid.UUID, error: Exception) -> None:
    """Record that a request's step raised `error`: retry a database error later, hold the request for any other.

    If the database cannot be reached, an error is logged and the request becomes due again when its lease ends.
    """
    heals = isinstance(error, OperationalError | InterfaceError | IntegrityError | PoolTimeout)
    if heals:
        log.warning("transaction.failed", request=str(id), error=repr(error))
    else:
        log.error("step.broke", request=str(id), exc_info=error)
    try:
        with runtime.database.transaction() as session:
            requests = still_ours(session, [id], lease)
            work = _open_work(runtime, session, requests)
            for request in requests:
                if heals:
                    _schedule_retry(work, request, Reason.INTERNAL_ERROR)
                else:
                    request.hold(Reason.INTERNAL_ERROR, work.now)
        for callback in work.committed_callbacks:
            callback()
    except (DBAPIError, PoolTimeout) as again:
        log.warning("database.unavailable", request=str(id), error=repr(again))
