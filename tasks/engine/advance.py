"""How any step runs: claim, act, record, hand on.

A hint says that something is due; `advance` claims what has waited longest, a batch at a time, and takes it as far
as it goes. One transaction records what the last calls outside did, runs every step that needs only the database,
and prepares the next calls; then the calls are made with no transaction open; and again, until nothing is left to
call. An order whose proofs are given is the claim and two transactions, shared by its batch.

Nothing here may be lost or doubled by a worker that dies: before a commit nothing happened, and after it the
row says who has it and until when. What is called outside is safe to call twice.
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
from tasks.steps.confirm import confirm, tell_the_end
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
"""As many usual batches are one batch of a bulk's requests: what a statement costs is shared by more of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """A request in hand, with the call that was made for it and how that went."""

    id: uuid.UUID
    step: StepName | None = None
    call: Call | None = None
    failure: GatewayError | None = None


def advance(runtime: Runtime, more_due: Callable[[], object], *, alone: bool = False) -> None:
    """Take a batch of due requests as far as they go. Safe to run twice, late or for nothing.

    A full batch may have left others behind: then `more_due` is called, before the work begins. `alone`: only what
    belongs to no bulk, as a worker looks for in between.
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
    """One transaction for all; if it fails, one for each, so that a bad one takes no other down with it."""
    if not items:
        return []
    try:
        return _work_on(runtime, lease, items)
    except Exception as error:
        log.warning("batch.split", size=len(items), error=repr(error))
    left = []
    for item in items:
        try:
            left += _work_on(runtime, lease, [item])
        except Exception as error:
            _set_back(runtime, lease, item.id, error)
    return left


def _work_on(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    by_id = {item.id: item for item in items}
    left = []
    with runtime.database.transaction() as session:
        requests = still_ours(session, list(by_id), lease)
        work = _begin(runtime, session, requests)
        if len(requests) < len(items):
            work.after_commit(log.warning, "lease.lost", count=len(items) - len(requests))
        for request in requests:
            call = _run(work, request, by_id[request.id])
            if call is not None:
                left.append(Item(request.id, request.step, call))
    for tell in work.news:
        tell()
    return left


def _begin(runtime: Runtime, session: Session, requests: Sequence[Request]) -> Work:
    now = runtime.clock()
    pool = NumberPool(session, now, blocks_wanted(requests))
    return Work(session, now, runtime, pool, ProofBook(session, requests))


def _run(work: Work, request: Request, item: Item) -> Call | None:
    """Record the call that was made, if there was one, and go on until the next call or the end."""
    request.begin(work.now)
    try:
        if item.call is not None:
            item.call.record(work, request, done=item.failure is None)
            if not _succeeded(work, request, item.failure):
                return None
            _hand_on(work, request)
        while request.status not in ENDED:
            outcome = STEPS[request.step](work, request)
            if outcome is not None:
                return _stop(work, request, outcome)
            _hand_on(work, request)
    except RuleBroken as error:
        request.reject(error.reason, work.now)
        _ended(work, request)
    return None


def _stop(work: Work, request: Request, outcome: Call | Wait | Hold) -> Call | None:
    match outcome:
        case Wait(actor, reason, until, again_at):
            request.wait_for(actor, reason, until, work.now, again_at)
        case Hold(reason, again_after):
            request.hold(reason, work.now, work.now + again_after)
        case call:
            return call
    _tell(work, request, f"request.{request.status}", reason=request.reason)
    return None


def _hand_on(work: Work, request: Request) -> None:
    done = request.step
    took = (work.runtime.clock() - request.updated_at).total_seconds()
    work.after_commit(metrics.STEP_SECONDS.labels(done).observe, took)
    _tell(work, request, "step.done")
    following = step_after(request.kind, done)
    if following is None:
        request.complete(work.now)
        _ended(work, request)
    else:
        request.go_on(following, work.now)


def _ended(work: Work, request: Request) -> None:
    if request.status is not Status.FAILED:
        discard_ordered_account(request, work.now)
    if request.status is not Status.COMPLETED:
        tell_the_end(work, request)
    work.after_commit(metrics.ENDED.labels(request.kind, request.status).inc)
    took = (work.now - request.created_at).total_seconds()
    _tell(work, request, f"request.{request.status}", reason=request.reason, took=round(took, 3))


def _succeeded(work: Work, request: Request, failure: GatewayError | None) -> bool:
    if failure is None:
        return True
    work.after_commit(log.warning, "call.failed", request=str(request.id), step=request.step, error=repr(failure))
    if isinstance(failure, GatewayRefused):
        request.fail(Reason.GATEWAY_REFUSED, work.now)
        _ended(work, request)
    else:
        _try_again(work, request, Reason.GATEWAY_UNAVAILABLE)
    return False


def _try_again(work: Work, request: Request, reason: Reason) -> None:
    policy = work.runtime.retry
    work.after_commit(metrics.RETRIES.labels(request.step).inc)
    if policy.exhausted(request.attempts + 1):
        request.hold(reason, work.now, work.now + policy.while_held)
    else:
        request.try_again(work.now + policy.pause(request.attempts + 1), work.now)


def _tell(work: Work, request: Request, event: str, **facts: object) -> None:
    work.after_commit(log.info, event, request=str(request.id), step=str(request.step), **facts)


def _make_calls(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    """Make the calls, those of one step together; if that breaks, each alone."""
    by_step: dict[StepName, list[Item]] = {}
    for item in items:
        assert item.step is not None
        by_step.setdefault(item.step, []).append(item)
    made = []
    for together in by_step.values():
        try:
            made += _make(runtime, together)
        except Exception as error:
            log.warning("calls.split", size=len(together), error=repr(error))
            made += _make_alone(runtime, lease, together)
    return made


def _make_alone(runtime: Runtime, lease: uuid.UUID, items: Sequence[Item]) -> list[Item]:
    made = []
    for item in items:
        try:
            made += _make(runtime, [item])
        except Exception as error:
            _set_back(runtime, lease, item.id, error)
    return made


def _make(runtime: Runtime, items: Sequence[Item]) -> list[Item]:
    calls = [item.call for item in items if item.call is not None]
    failures = calls[0].make(calls, runtime.ports)
    return [replace(item, failure=failure) for item, failure in zip(items, failures, strict=True)]


def _set_back(runtime: Runtime, lease: uuid.UUID, id: uuid.UUID, error: Exception) -> None:
    """It broke for this request alone. What can heal is tried again; a bug is held for the back office.

    If even this cannot be written, the row is due all the same, at the latest when its lease ends.
    """
    heals = isinstance(error, OperationalError | InterfaceError | IntegrityError | PoolTimeout)
    if heals:
        log.warning("transaction.failed", request=str(id), error=repr(error))
    else:
        log.error("step.broke", request=str(id), exc_info=error)
    try:
        with runtime.database.transaction() as session:
            requests = still_ours(session, [id], lease)
            work = _begin(runtime, session, requests)
            for request in requests:
                if heals:
                    _try_again(work, request, Reason.INTERNAL_ERROR)
                else:
                    request.hold(Reason.INTERNAL_ERROR, work.now)
        for tell in work.news:
            tell()
    except (DBAPIError, PoolTimeout) as again:
        log.warning("database.unavailable", request=str(id), error=repr(again))
