"""Job `requests`: find requests that no worker has taken in time, or that were held or have failed for long.

It also frees number blocks that are reserved for a request that has ended. If an account has changed its main account,
requests about its contracts that still belong to the former one are handed over to the present one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.locks import lock_free_accounts
from models.db.work_queue import made_due
from models.requests.contract_requests import hand_over, left_behind, present_owner
from models.requests.moved_blocks import MovedBlock
from models.requests.requests import Request
from models.states import ENDED, Status
from models.telephony.number_pool import RESERVED, free_reserved_block
from models.telephony.numbers import NumberBlock
from tasks.reconcile.job_run import Run
from tasks.reconcile.request_batches import look_at_requests

NOT_PICKED_UP = timedelta(minutes=5)
"""The longest time that a due request may wait for a worker to claim it."""
LONG_HELD = timedelta(days=1)
SOME_TIME = timedelta(minutes=1)
"""How long after the end of a lease or a deadline a request counts as overdue.

A sweep and a busy worker may need this time.
"""


def reconcile_requests(run: Run) -> None:
    """Schedule requests that are overdue to be worked on now, and report them as findings.

    Overdue are requests that no worker has taken in time, whose worker has died, or whose deadline has passed. Requests
    that were held or have failed for more than a day (`LONG_HELD`), or were tried too often, are only reported. Number
    blocks that are reserved for no running request are freed and reported. Requests about contracts that still belong
    to an account's former main account are handed over to the present one and reported. Safe to run twice: nothing of
    it is done a second time.
    """
    now = run.now
    is_due = Request.due_at.is_not(None)
    # Each has the condition of an index, so that the ended requests are not read.
    standing_still = sa.or_(
        sa.and_(Request.lease.is_(None), Request.due_at < now - NOT_PICKED_UP),
        sa.and_(Request.lease.is_not(None), Request.due_at < now - SOME_TIME),
        sa.and_(
            is_due,
            Request.status == Status.PENDING,
            Request.lease.is_(None),
            Request.waiting_until < now - SOME_TIME,
            Request.due_at > now,
        ),
        sa.and_(Request.status.in_((Status.HELD, Status.FAILED)), Request.updated_at < now - LONG_HELD),
        sa.and_(is_due, Request.attempts >= run.runtime.retry.patience),
    )

    def judge(session: Session, requests: Sequence[Request]) -> None:
        for request in requests:
            _judge(run, request, now)
            if request.due_at is not None and request.due_at <= now:
                # Also where no column changed: nobody has been told, or nobody has heard it.
                made_due(session, request.work)

    look_at_requests(run, sa.select(Request).where(standing_still), judge)
    _free_forgotten_blocks(run)
    _hand_over_left_requests(run)


def _free_forgotten_blocks(run: Run) -> None:
    """Free the number blocks that are reserved for no running request, and report them as findings.

    They can be left after a cancellation by an older version, which does not know reserved blocks.
    """
    runs = Request.status.not_in(ENDED)
    holds = sa.or_(
        sa.exists().where(Request.reserved_block_id == NumberBlock.id, runs),
        sa.exists().where(
            MovedBlock.replacement_id == NumberBlock.id,
            MovedBlock.moved_at.is_(None),
            Request.id == MovedBlock.request_id,
            runs,
        ),
    )
    forgotten = sa.select(NumberBlock).where(
        NumberBlock.account_id.is_(None), NumberBlock.available_from == RESERVED, ~holds
    )
    with run.transaction() as session:
        for block in session.scalars(forgotten.order_by(NumberBlock.id).with_for_update(skip_locked=True)):
            free_reserved_block(block, run.now)
            number = f"+{block.first_number}"
            run.find("block_reserved_for_nobody", number, repaired=True, number=number, size=block.size)


def _hand_over_left_requests(run: Run) -> None:
    """Hand over requests about contracts that still belong to a former main account, and report them as findings.

    Such a request was locked at the moment when its account was attached, switched or detached. A request is left to
    the next run if it, its account or the new main account is locked now: no lock is waited for.
    """
    found = left_behind().options(joinedload(Request.account)).order_by(Request.id)
    with run.transaction() as session:
        requests = session.scalars(found.with_for_update(of=Request, skip_locked=True)).all()
        accounts = {request.account_id for request in requests if request.account_id is not None}
        lock_free_accounts(session, accounts, ())
        owners = {owner for request in requests if (owner := present_owner(request)) is not None}
        free = lock_free_accounts(session, (), owners)
        for request in requests:
            owner = present_owner(request)
            if request.account_id in free and owner in free and request.main_id != owner:
                hand_over(session, request)
                if request.approval_until is not None and request.approved is None:
                    request.make_due(run.now)
                _find(run, "left_behind", request, request.updated_at)


def _judge(run: Run, request: Request, now: datetime) -> None:
    # The day that a held request names is the carrier's own: nothing is done when it passes.
    due_at, deadline = request.due_at, request.waiting_until if request.status is Status.PENDING else None
    if due_at is not None and due_at <= now:
        # The request keeps its place in the queue.
        kind = "left_by_worker" if request.lease is not None else "not_picked_up"
        request.make_due(due_at)
        _find(run, kind, request, due_at)
    elif deadline is not None and deadline <= now:
        request.make_due(now)
        _find(run, "past_deadline", request, deadline)
    if request.status is Status.IN_PROGRESS and run.runtime.retry.exhausted(request.attempts):
        _find(run, "tried_often", request, request.updated_at, repaired=False, attempts=request.attempts)
    if request.status is Status.HELD and request.updated_at < now - LONG_HELD:
        _find(run, "held_long", request, request.updated_at, repaired=False)
    if request.status is Status.FAILED:
        _find(run, "failed_long", request, request.updated_at, repaired=False)


def _find(run: Run, kind: str, request: Request, since: datetime, *, repaired: bool = True, **facts: object) -> None:
    run.find(
        kind,
        str(request.id),
        repaired=repaired,
        customer_number=request.customer_number,
        status=request.status,
        step=request.step,
        since=since.isoformat(),
        **({"reason": request.reason} if request.reason is not None else {}),
        **facts,
    )
