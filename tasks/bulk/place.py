"""Turn the rows of a bulk (an uploaded CSV or XLSX file of orders, link requests or other requests) into requests.

Also mail the person who uploaded the file when all its requests have ended. The requests run through the pipeline
(`tasks.engine.advance`) after requests that belong to no bulk.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session, selectinload

from models.accounts.company_limits import Limit
from models.bulk.bulk import ON_ACCOUNTS, Bulk, BulkRow, RowFate, as_order, is_over, open_rows, placed_before
from models.bulk.progress import progress_of
from models.db.advisory_locks import take_advisory_lock
from models.db.transient_errors import can_be_repeated
from models.errors import AlreadyRequested, Forbidden, InvalidField, LimitReached, RuleBroken, TooEarly
from models.links.links import (
    MOST_OPEN_QUESTIONS,
    MOST_WRONG_CODES,
    LinkDraft,
    open_questions,
    submit_link,
    wrong_codes,
)
from models.messages.outbox import Recipient, queue_message, was_queued
from models.orders.orders import ensure_orderable, submit_orders
from models.people.rights import Action, Principal, may
from models.people.users import people_to_tell, principal_of
from models.proofs.order_placement import take_for_orders
from models.proofs.proofs import OwnershipProof
from models.states import Kind, ProofMethod, Status
from tasks import tracing
from tasks.bulk.account_rows import place_account_rows
from tasks.bulk.approvals import ask_to_approve_file
from tasks.bulk.refusals import refuse
from tasks.claims import Claim, claimed
from tasks.runtime import Runtime
from tasks.wording.file_kinds import CONTENTS

log = structlog.get_logger()

CHUNK = 100
"""The most rows of a bulk (uploaded file) that are processed in one transaction.

It is small, so that the worker is soon free for work that belongs to no bulk.
"""
_Placer = Callable[[Session, Runtime, Bulk, Sequence[BulkRow], Principal, datetime], LimitReached | None]
_SOONEST, _LATEST = timedelta(seconds=2), timedelta(minutes=10)
_ANSWERS_LOOKED_FOR = timedelta(minutes=10)
_ROOM_LOOKED_FOR = timedelta(minutes=5)


def place_due(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Claim the longest-waiting bulk that is due, and turn a batch of its rows into requests.

    A bulk is an uploaded file. If all of its rows are requests already, only check whether
    these requests have ended, and then end the bulk. `more_due` is called if a bulk was claimed, because other bulks
    may be due. Safe to run twice, late or when nothing is due: a row's result is saved in one transaction with its
    request.
    """
    with claimed(runtime, Bulk, more_due, limit=1) as claim:
        for id in claim.ids:
            try:
                _place_batch(runtime, id, claim.lease)
            except SoftTimeLimitExceeded:
                raise
            except Exception as error:
                _record_error(claim, id, error)


def _place_batch(runtime: Runtime, id: uuid.UUID, lease: uuid.UUID) -> None:
    """Process the claimed bulk `id` once: turn a batch of rows into requests, or end the bulk.

    A bulk is an uploaded file; it ends when all its requests have ended. A batch has at most 100 rows (`CHUNK`), and
    one row after a failed try. Unless the bulk ends, its next processing is scheduled: immediately after a batch;
    minutes later if a limit of the company is reached; after 2 seconds to 10 minutes, at growing intervals, if only the
    requests have yet to end. Queues the receipt mail when a limit is reached for the first time or no row is left, and
    another mail at the end of the bulk. Does nothing if the bulk is no longer claimed under the lease `lease`.
    """
    now = runtime.clock()
    with runtime.database.transaction() as session:
        bulk = _lock_claimed(session, id, lease)
        if bulk is None:
            return
        # Each row's request has a trace of its own, which links to this span.
        with tracing.span("bulk", bulk.traceparent, bulk=id):
            _place_or_end(session, runtime, bulk, now)


def _place_or_end(session: Session, runtime: Runtime, bulk: Bulk, now: datetime) -> None:
    if bulk.placed_at is None:
        # After a failure rows are placed one by one, so that one bad row does not fail the others.
        rows = open_rows(session, bulk, 1 if bulk.attempts else CHUNK)
        if rows and _limit_reached(session, bulk):
            _queue_receipt(session, bulk, now)
            bulk.make_due(now + _ANSWERS_LOOKED_FOR)
            return
        reached = _place(session, runtime, bulk, rows, now)
        bulk.attempts = 0
        if reached is not None:
            _queue_receipt(session, bulk, now)
            bulk.wait_for(Limit(reached.limit), reached.free_at or now + _ROOM_LOOKED_FOR)
            return
        bulk.waits_for = None
        if rows:
            bulk.make_due(now)
            return
        bulk.placed(now)
        _queue_receipt(session, bulk, now)
    ask_to_approve_file(session, bulk, now)
    if is_over(session, bulk):
        bulk.end(now)
        _queue_end_mail(session, bulk, now)
    else:
        assert bulk.sent_at is not None
        bulk.make_due(now + min(max((now - bulk.sent_at) / 10, _SOONEST), _LATEST))


def _limit_reached(session: Session, bulk: Bulk) -> bool:
    """Return whether the main account of a bulk has 1,000 (`MOST_OPEN_QUESTIONS`) requests for consent open.

    A bulk is an uploaded file. While this is True, the rows of a file of link requests have to wait, because each asks
    the administrators of another account for consent. Always False for a file of orders.
    """
    return bulk.kind is Kind.LINK and open_questions(session, bulk.main) >= MOST_OPEN_QUESTIONS


def _place(
    session: Session, runtime: Runtime, bulk: Bulk, rows: Sequence[BulkRow], now: datetime
) -> LimitReached | None:
    """Turn the rows of a bulk file into requests until a limit of the company is reached.

    Return the limit that was reached, None if none was. A row that repeats an earlier row, of this file or another one,
    is only marked as repeated. The link codes of processed rows are deleted.
    """
    if not rows:
        return None
    # Two bulks of one main account may contain the same rows.
    take_advisory_lock(session, f"bulk {bulk.main_id}")
    known = placed_before(session, rows)
    fresh: list[BulkRow] = []
    for row in rows:
        assert row.key is not None
        if row.key in known:
            row.fate = RowFate.REPEATED
        else:
            known.add(row.key)
            fresh.append(row)
    principal = principal_of(session, bulk.user)
    reached = _PLACERS[bulk.kind](session, runtime, bulk, fresh, principal, now)
    for row in rows:
        if row.fate is not None:
            row.forget_code()
    return reached


def _place_orders(
    session: Session, runtime: Runtime, bulk: Bulk, rows: Sequence[BulkRow], principal: Principal, now: datetime
) -> LimitReached | None:
    if not may(principal, Action.ORDER, bulk.main):
        # Before the limits: their room is for those who may order.
        for row in rows:
            refuse(row, Forbidden())
        return None
    prices = bulk.agreed_prices
    orderable = []
    for row in rows:
        assert row.draft is not None
        order = as_order(row.draft)
        try:
            ensure_orderable(session, principal, bulk.main, order, now, prices)
        except InvalidField as error:
            refuse(row, error)
        else:
            orderable.append((row, order))
    orders = [order for _, order in orderable]
    count, reached = take_for_orders(session, principal, bulk.main, orders, now, runtime.limits)
    orderable, orders = orderable[:count], orders[:count]
    try:
        requests = submit_orders(session, principal, bulk.main, orders, now, bulk.id, agreed=prices) if orders else []
    except RuleBroken as error:
        for row, _ in orderable:
            refuse(row, error)
        return None
    for (row, _), request in zip(orderable, requests, strict=True):
        row.fate, row.request_id = RowFate.PLACED, request.id
    return reached


def _place_links(
    session: Session, runtime: Runtime, bulk: Bulk, rows: Sequence[BulkRow], principal: Principal, now: datetime
) -> LimitReached | None:
    tries_left = MOST_WRONG_CODES - wrong_codes(session, bulk.main, now)
    for row in rows:
        assert row.draft is not None
        code = runtime.vault.open(bytes.fromhex(row.draft["code"])) if row.draft["code"] else None
        # A sender who administers both accounts needs no further proof: the verify step checks that.
        method = ProofMethod.LINK_CODE if code else ProofMethod.CONSENT
        if code and tries_left <= 0:
            row.fate, row.refusal = RowFate.REFUSED, "too_many_wrong_codes"
            continue
        link = LinkDraft(row.draft["customer_number"], method, code, bulk.locale)
        try:
            request = submit_link(session, runtime.vault, principal, bulk.main, link, now, bulk.id, runtime.limits)
        except LimitReached as reached:
            return reached
        except (Forbidden, RuleBroken, InvalidField, AlreadyRequested, TooEarly) as error:
            refuse(row, error)
            continue
        row.fate, row.request_id = RowFate.PLACED, request.id
        if code and session.get(OwnershipProof, request.id) is None:
            tries_left -= 1
    return None


_PLACERS: Mapping[Kind, _Placer] = {
    Kind.ORDER: _place_orders,
    Kind.LINK: _place_links,
    **dict.fromkeys(ON_ACCOUNTS, place_account_rows),
}
"""The functions that turn rows into requests, by the kind of the file. Each returns the limit that it has reached."""


def _queue_receipt(session: Session, bulk: Bulk, now: datetime) -> None:
    """Queue the receipt mail of a bulk (uploaded file) for the person who uploaded the file, unless queued before.

    If this person has no role in the main account any more, the account's administrators get the receipt instead.
    """
    occasion = str(bulk.id)
    for to in _senders(session, bulk):
        if not was_queued(session, "bulk_receipt", occasion, to):
            facts = {"bulk_id": occasion, "path": f"/standortverwaltung/sammelauftrag/{bulk.id}"}
            queue_message(session, None, "bulk_receipt", to, facts, now, occasion=occasion)


def _senders(session: Session, bulk: Bulk) -> list[Recipient]:
    """Return the recipients of mails about the bulk file: the person who uploaded it, or else the administrators.

    The main account's administrators get the mails if the uploader was disabled or has no role in that account any
    more.
    """
    people = people_to_tell(session, bulk.user_id, bulk.main_id)
    return [Recipient(person.name, person.email, person.locale) for person in people]


def _queue_end_mail(session: Session, bulk: Bulk, now: datetime) -> None:
    progress = progress_of(session, bulk)
    completed = progress.by_status.get(Status.COMPLETED, 0)
    facts = {
        "kind": bulk.kind,
        "contents": CONTENTS[bulk.kind],
        "file_name": bulk.file_name,
        "customer_number": bulk.main.customer_number,
        "rows": progress.rows,
        "completed": completed,
        "repeated": progress.repeated,
        "left_out": progress.left_out,
        "others": progress.rows - completed - progress.repeated - progress.left_out,
        "path": f"/standortverwaltung/sammelauftrag/{bulk.id}",
    }
    for to in _senders(session, bulk):
        queue_message(session, None, "bulk_ended", to, facts, now, occasion=str(bulk.id))
    log.info("bulk.ended", bulk=str(bulk.id), rows=progress.rows, completed=completed)


def _lock_claimed(session: Session, id: uuid.UUID, lease: uuid.UUID) -> Bulk | None:
    # FOR NO KEY UPDATE: workers that insert rows referring to the bulk may hold the main account's lock.
    query = sa.select(Bulk).where(Bulk.id == id, Bulk.lease == lease).with_for_update(key_share=True)
    return session.scalar(query.options(selectinload(Bulk.main), selectinload(Bulk.user)))


def _record_error(claim: Claim, id: uuid.UUID, error: Exception) -> None:
    """Record that placing rows of the claimed bulk file `id` failed with `error`; schedule the next try after a pause.

    The next try takes a single row. If a single row fails with an error that a retry cannot heal, the row is refused
    with the reason `internal_error`. Its link code is then deleted. Does nothing if another worker has claimed the bulk
    since.
    """
    is_temporary = can_be_repeated(error)
    told = None if is_temporary else error
    log.log(30 if is_temporary else 40, "bulk.broke", bulk=str(id), error=repr(error), exc_info=told)
    runtime = claim.runtime
    # For the case that the database does not answer now either.
    claim.give_back([id])
    now = runtime.clock()
    with runtime.database.transaction() as session:
        bulk = _lock_claimed(session, id, claim.lease)
        if bulk is None:
            return
        if bulk.attempts and not is_temporary:
            for row in open_rows(session, bulk, 1):
                row.fate, row.refusal = RowFate.REFUSED, "internal_error"
                row.forget_code()
        bulk.attempts += 1
        bulk.make_due(now + runtime.retry.pause(bulk.attempts))
