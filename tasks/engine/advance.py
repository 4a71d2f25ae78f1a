"""The engine that runs the steps of requests: claim due requests, run their steps, record the results.

`advance` claims the longest-waiting due requests, a batch at a time. There are two kinds of work, each with processes
of its own, so that what needs only the database never waits for an external system:

- `requests.verify` runs the steps that need only the database, in one transaction for the batch. A request that comes
  to the step `provision` is released to the other kind of work.
- `requests.provision` prepares the calls to the registrar in a transaction, makes them with no transaction open, and
  records their results in a second transaction, which also runs the steps that follow.

If a worker dies, nothing is lost or done twice: uncommitted changes are rolled back, the claim ends with its lease, and
every external call is safe to repeat.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.db.transient_errors import can_be_repeated, is_locked
from models.db.work_queue import WorkKind
from models.errors import RuleBroken
from models.jobs.outages import ExternalSystem
from models.orders.orders import blocks_wanted, discard_ordered_account
from models.proofs.proof_book import ProofBook
from models.requests.batch_locks import lock_claimed
from models.requests.contract_requests import hand_over
from models.requests.displaced_detach import restore_displaced
from models.requests.requests import Request
from models.requests.reserved_numbers import free_reserved_numbers
from models.states import ENDED, Reason, Status, StepName, step_after
from models.telephony.number_pool import NumberPool
from tasks import metrics, tracing
from tasks.claims import Claim, claimed
from tasks.engine.request_traces import call_traced, join_trace
from tasks.note_outages import note_answers
from tasks.ports import GatewayError, GatewayRefused, NumberTaken
from tasks.runtime import Runtime
from tasks.steps.assign import assign
from tasks.steps.attach import attach
from tasks.steps.cancel import cancel
from tasks.steps.change import change
from tasks.steps.confirm import confirm, queue_end_mails, queue_held_mails
from tasks.steps.detach import detach
from tasks.steps.move import move
from tasks.steps.provision import provision
from tasks.steps.step import Call, Hold, Outcome, Postpone, Step, Wait, Work
from tasks.steps.verify import verify
from tasks.tracing import NO_SPAN, Span

log = structlog.get_logger()

STEPS: Mapping[StepName, Step] = {
    StepName.VERIFY: verify,
    StepName.PROVISION: provision,
    StepName.ATTACH: attach,
    StepName.DETACH: detach,
    StepName.CHANGE: change,
    StepName.ASSIGN: assign,
    StepName.MOVE: move,
    StepName.CANCEL: cancel,
    StepName.CONFIRM: confirm,
}


BLOCKED_FOR = 0.1
"""Seconds to wait before requests that another transaction has locked are tried once more; then they are released."""
ONE_BY_ONE = 10.0
"""For how many seconds the requests of a failed batch are run one by one; requests not begun by then are released."""
BULK_BATCHES = 2
"""The most requests of bulks (uploaded files) in one batch, as a multiple of the setting `BATCH`.

It is larger than 1, so that more requests share each SQL statement.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The requests that one call of `advance` works on.

    `kind` is the kind of work that they wait for; `claim` has their ids and the lease under which this worker has
    reserved them.
    """

    runtime: Runtime
    kind: WorkKind
    claim: Claim


@dataclass(frozen=True, slots=True)
class Item:
    """A claimed request, by its id, with its present step and the external call that the step asks for.

    `step` and `call` are None before the steps run. `failure` is the error of the call; None if the call succeeded or
    was not made yet. `span` is the span of the step, which ends with the call's result.
    """

    id: uuid.UUID
    step: StepName | None = None
    call: Call | None = None
    failure: GatewayError | None = None
    span: Span = NO_SPAN


def advance(runtime: Runtime, kind: WorkKind, more_due: Callable[[], object]) -> None:
    """Claim a batch of due requests that wait for this kind of work (`VERIFY` or `PROVISION`), and run their steps.

    The steps of a request run until the request waits for a person or for the other kind of work, is held or has ended.
    `more_due` is called after claiming a full batch, because more requests may be due. While the registrar is
    unavailable, no request is claimed for `PROVISION`, except one at a time to try whether the registrar answers again.
    Safe to run twice, late or when nothing is due.
    """
    with claimed(
        runtime,
        Request,
        more_due,
        limit=runtime.batch,
        which=Request.waits_for(kind),
        with_bulks=runtime.batch * BULK_BATCHES,
        system=ExternalSystem.REGISTRAR if kind is WorkKind.PROVISION else None,
    ) as claim:
        batch = Batch(runtime, kind, claim)
        waiting = _transact(batch, [Item(id) for id in claim.ids])
        while waiting and claim.is_safe:
            waiting = _transact(batch, _make_calls(batch, waiting))
        claim.give_back([item.id for item in waiting])


def _transact(batch: Batch, items: Sequence[Item]) -> list[Item]:
    """Run the steps of the items' requests in one transaction; if it fails, run each request in its own transaction.

    Return the items whose external call has to be made. Requests that another transaction has locked are tried once
    more, then released for any worker.
    """
    if not items:
        return []
    left, blocked = _run_together(batch, items)
    if blocked:
        # Mostly by another worker, for as long as a transaction takes.
        time.sleep(BLOCKED_FOR)
        more, blocked = _run_together(batch, blocked)
        left += more
    if blocked:
        log.info("requests.blocked", count=len(blocked))
        batch.claim.give_back([item.id for item in blocked])
    return left


def _run_together(batch: Batch, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    try:
        return _run_steps(batch, items)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        log.warning("batch.split", size=len(items), error=repr(error))
    left: list[Item] = []
    blocked: list[Item] = []
    ends = time.monotonic() + ONE_BY_ONE
    for place, item in enumerate(items):
        if time.monotonic() > ends or not batch.claim.is_safe:
            blocked += items[place:]
            break
        try:
            one_left, one_blocked = _run_steps(batch, [item])
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if is_locked(error):
                blocked.append(item)
            else:
                _record_error(batch, item.id, error)
        else:
            left += one_left
            blocked += one_blocked
    return left, blocked


def _run_steps(batch: Batch, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Run the steps of several requests in one transaction, and commit.

    Return two lists: the items whose external call has to be made, and the items that were skipped. An item is skipped
    if another transaction has locked its request or one of the request's accounts, or if it is no longer claimed.
    """
    by_id = {item.id: item for item in items}
    left = []
    with batch.runtime.database.transaction() as session:
        requests = lock_claimed(session, list(by_id), batch.claim.lease)
        redrawing = [item.id for item in items if isinstance(item.failure, NumberTaken)]
        work = _open_work(batch.runtime, session, requests, redrawing)
        for request in requests:
            waiting = _run_request(work, request, by_id[request.id], batch.kind)
            if waiting is not None:
                left.append(waiting)
    for callback in work.committed_callbacks:
        callback()
    touched = {request.id for request in requests}
    return left, [item for item in items if item.id not in touched]


def _open_work(
    runtime: Runtime, session: Session, requests: Sequence[Request], redrawing: Sequence[uuid.UUID] = ()
) -> Work:
    now = runtime.clock()
    pool = NumberPool(session, now, blocks_wanted(requests, redrawing))
    return Work(session, now, runtime, pool, ProofBook(session, requests))


def _run_request(work: Work, request: Request, item: Item, kind: WorkKind) -> Item | None:
    """Record the result of the item's external call, if one was made, then run the request's steps one after the other.

    Return the item with the next external call to make. Return None if the request has ended, waits, is held, or was
    released to the other kind of work.
    """
    hand_over(work.session, request)
    if tracing.is_on():
        join_trace(request)
    request.begin(work.now)
    if item.call is not None and not _record_call(work, request, item, item.call):
        return None
    while request.status not in ENDED:
        if kind is WorkKind.VERIFY and request.work is not kind:
            request.make_due(work.now)
            return None
        step = request.step
        span = tracing.start(f"step {step}", request.traceparent, request=request.id, kind=request.kind)
        with span.current():
            outcome = _run_step(work, request)
            call = _apply_outcome(work, request, outcome) if outcome is not None else None
        if call is not None:
            return Item(request.id, step, call, span=span)
        span.note(status=request.status, reason=request.reason)
        work.after_commit(span.ending())
        if outcome is not None:
            return None
    return None


def _record_call(work: Work, request: Request, item: Item, call: Call) -> bool:
    """Record the result of the item's external call in its request. Return whether the request's steps go on now.

    After a success the request goes to its next step. After a failure its present step begins again, or it is scheduled
    for a retry, held, failed or rejected.
    """
    with item.span.current():
        if item.failure is not None:
            item.span.fail(item.failure)
        try:
            call.record(work, request, done=item.failure is None)
            if item.failure is None:
                _go_to_next_step(work, request)
            elif not call.begin_again(work, request, item.failure):
                _fail(work, request, item.failure)
                return False
        except RuleBroken as error:
            _reject(work, request, error)
        finally:
            item.span.note(status=request.status, reason=request.reason)
            work.after_commit(item.span.ending())
    return request.status not in ENDED


def _run_step(work: Work, request: Request) -> Outcome:
    try:
        outcome = STEPS[request.step](work, request)
        if outcome is None:
            _go_to_next_step(work, request)
    except RuleBroken as error:
        _reject(work, request, error)
        return None
    return outcome


def _reject(work: Work, request: Request, error: RuleBroken) -> None:
    request.reject(error.reason, work.now, **error.facts)
    _finish(work, request)


def _apply_outcome(work: Work, request: Request, outcome: Call | Wait | Hold | Postpone) -> Call | None:
    match outcome:
        case Wait(actor, reason, until, again_at):
            request.wait_for(actor, reason, until, work.now, again_at)
        case Hold(reason, again_after):
            _hold(work, request, reason, work.now + again_after)
        case Postpone(again_at):
            request.postpone(again_at, work.now)
            return None
        case call:
            return call
    _log_after_commit(work, request, f"request.{request.status}", reason=request.reason)
    return None


def _hold(work: Work, request: Request, reason: Reason, again_at: datetime | None) -> None:
    before = request.status, request.reason
    request.hold(reason, work.now, again_at)
    if before != (Status.HELD, reason):
        queue_held_mails(work, request)


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
        free_reserved_numbers(request, work.now)
        restore_displaced(request, work.now)
    if request.status is not Status.COMPLETED:
        queue_end_mails(work, request)
    work.after_commit(metrics.ENDED.labels(request.kind, request.status).inc)
    took = (work.now - request.created_at).total_seconds()
    _log_after_commit(work, request, f"request.{request.status}", reason=request.reason, took=round(took, 3))


def _fail(work: Work, request: Request, failure: GatewayError) -> None:
    work.after_commit(log.warning, "call.failed", request=str(request.id), step=request.step, error=repr(failure))
    if isinstance(failure, GatewayRefused):
        request.fail(Reason.GATEWAY_REFUSED, work.now)
        _finish(work, request)
    else:
        _schedule_retry(work, request, Reason.GATEWAY_UNAVAILABLE)


def _schedule_retry(work: Work, request: Request, reason: Reason) -> None:
    policy = work.runtime.retry
    work.after_commit(metrics.RETRIES.labels(request.step).inc)
    if policy.exhausted(request.attempts + 1):
        _hold(work, request, reason, work.now + policy.while_held)
    else:
        request.try_again(work.now + policy.pause(request.attempts + 1), work.now)


def _log_after_commit(work: Work, request: Request, event: str, **facts: object) -> None:
    work.after_commit(log.info, event, request=str(request.id), step=str(request.step), **facts)


def _make_calls(batch: Batch, items: Sequence[Item]) -> list[Item]:
    """Make the items' external calls, all calls of one step together; if they raise an error, make them one by one.

    Return the items, each with the error of its call in `failure`. If a call that is made alone raises, the error is
    recorded in its request, and its item is not returned.
    """
    by_step: dict[StepName, list[Item]] = {}
    for item in items:
        assert item.step is not None
        by_step.setdefault(item.step, []).append(item)
    made = []
    for together in by_step.values():
        try:
            made += _make_together(batch, together)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            log.warning("calls.split", size=len(together), error=repr(error))
            made += _make_one_by_one(batch, together)
    return made


def _make_one_by_one(batch: Batch, items: Sequence[Item]) -> list[Item]:
    made = []
    for place, item in enumerate(items):
        if not batch.claim.is_safe:
            batch.claim.give_back([late.id for late in items[place:]])
            break
        try:
            made += _make_together(batch, [item])
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            _record_error(batch, item.id, error)
    return made


def _make_together(batch: Batch, items: Sequence[Item]) -> list[Item]:
    calls = [item.call for item in items if item.call is not None]
    failures = call_traced(lambda: calls[0].make(calls, batch.runtime.ports), {item.id: item.span for item in items})
    note_answers(batch.claim, ExternalSystem.REGISTRAR, failures)
    return [replace(item, failure=failure) for item, failure in zip(items, failures, strict=True)]


def _record_error(batch: Batch, id: uuid.UUID, error: Exception) -> None:
    """Record in a transaction of its own that a step of the request `id` raised `error`.

    The request is scheduled for a retry if the error is temporary, such as a deadlock; for any other error it is held
    for the back office. If recording fails too, the request is released, so that any worker may claim it.
    """
    is_temporary = isinstance(error, IntegrityError) or can_be_repeated(error)
    if is_temporary:
        log.warning("transaction.failed", request=str(id), error=repr(error))
    else:
        log.error("step.broke", request=str(id), exc_info=error)
    try:
        with batch.runtime.database.transaction() as session:
            requests = lock_claimed(session, [id], batch.claim.lease)
            work = _open_work(batch.runtime, session, requests)
            for request in requests:
                if is_temporary:
                    _schedule_retry(work, request, Reason.INTERNAL_ERROR)
                else:
                    _hold(work, request, Reason.INTERNAL_ERROR, None)
            if not requests:
                batch.claim.give_back([id])
        for callback in work.committed_callbacks:
            callback()
    except SoftTimeLimitExceeded:
        raise
    except Exception as again:
        log.error("error.not_recorded", request=str(id), error=repr(again))
        batch.claim.give_back([id])
