"""Send queued mails and letters.

A message's row says when the message is to be sent, and under which lease a worker has claimed it. An outage of the
mail server delays only mails, not requests. Each message is sent at least once, always under the same key; see
docs/decisions/0002.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from models.db.batch_insert import batch_insert
from models.db.transient_errors import is_locked, is_outage
from models.jobs.outages import ExternalSystem
from models.links import invoice_membership
from models.messages.outbox import (
    Channel,
    Message,
    MessageState,
    mark_sent,
    queued_ids,
    still_claimed,
    still_queued,
)
from models.proofs import consent_reach, contact_email
from models.requests.batch_locks import lock_announcing
from models.requests.timeline import TimelineEntry
from tasks import tracing
from tasks.claims import Claim, claimed
from tasks.metrics import MAILS
from tasks.note_outages import note_answers
from tasks.outbox.receipt_facts import NOTHING, RECEIPTS, Details, Receipts
from tasks.outbox.render import render_letter, render_mail
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable
from tasks.runtime import Runtime

log = structlog.get_logger()

SYSTEMS = {Channel.MAIL: ExternalSystem.MAIL, Channel.LETTER: ExternalSystem.LETTER}
"""The external system that sends the messages of each channel."""
_SENT_BY = {channel: Message.channel == channel for channel in Channel}
QUESTIONS: Mapping[str, Callable[[Session, Message, datetime], None]] = {
    consent_reach.CONSENT_MAIL: consent_reach.note_refused,
    consent_reach.MAIN_CONSENT_MAIL: consent_reach.note_refused,
    contact_email.CONTACT_MAIL: contact_email.note_refused,
    invoice_membership.OFFER_MAIL: invoice_membership.note_refused,
}
"""By template of a mail that asks for consent or a proof: the function that is called if the mail was refused for good.

The function gets the session, the message and the time. It records the refusal, so that somebody is told of it.
"""
SENDING_TIME = timedelta(seconds=2)
"""For how long one call of `send_due` begins messages.

The next call again sends messages that belong to no bulk before those of bulks, also if they are newer.
"""
TRY_TO_RECORD_AGAIN = 0.5
"""Seconds to wait before results that could not be recorded are recorded again."""
RECORDED_WITHIN = timedelta(milliseconds=100)
"""How long a sent message may be unrecorded: if the worker is killed in that time, another worker sends it again."""
Outcomes = dict[Message, GatewayError | None]
"""The result of sending each message: the error, or None if the message was sent."""


def send_due(runtime: Runtime, channel: Channel, more_due: Callable[[], object]) -> None:
    """Send a batch of the channel's due messages; after 2 seconds (`SENDING_TIME`) begin no further one.

    Messages that were claimed but not begun are released for any worker, in their old order, with no attempt counted.
    If the database is unavailable when the variables of receipts are read, all messages are released and the error is
    raised. While the channel's external system (mail server or printer) is unavailable, no message is claimed.
    `more_due` is called after claiming a full batch, because more messages may be due. Safe to run twice, late or when
    nothing is due.
    """
    which, system = _SENT_BY[channel], SYSTEMS[channel]
    with claimed(runtime, Message, more_due, limit=runtime.batch, which=which, system=system) as claim:
        if not claim.ids:
            return
        with runtime.database.transaction() as session:
            messages = still_claimed(session, claim.ids, claim.lease)
        claim.give_back(set(claim.ids) - {message.id for message in messages})
        try:
            details = _details(runtime, messages)
        except Exception:
            claim.give_back([message.id for message in messages])
            raise
        begun = _send_some(claim, channel, messages, details)
        not_begun = {message.id for message in messages} - begun
        if not_begun:
            with runtime.database.transaction() as session:
                released = still_claimed(session, list(not_begun), claim.lease)
                for message in released:
                    message.give_back()
            claim.give_back(not_begun - {message.id for message in released})


def _details(runtime: Runtime, messages: Sequence[Message]) -> Mapping[int, Details | Exception]:
    """Read the template variables and attachments of the receipts among the messages, in one transaction.

    Return them by message id. If that fails, each receipt is read in a transaction of its own; for a receipt that
    cannot be read, the error is returned instead. Raises an error only if the database is unavailable or the task's
    time limit is over.
    """
    receipts = [message for message in messages if message.template in RECEIPTS]
    try:
        return _read_details(runtime, receipts)
    except Exception as error:
        _raise_outage(error)
    found: dict[int, Details | Exception] = {}
    for message in receipts:
        try:
            found |= _read_details(runtime, [message])
        except Exception as error:
            _raise_outage(error)
            found[message.id] = error
    return found


def _read_details(runtime: Runtime, receipts: Sequence[Message]) -> dict[int, Details]:
    if not receipts:
        return {}
    with runtime.database.transaction() as session:
        reader = Receipts(session, receipts, runtime.base_url, runtime.carrier)
        return {message.id: reader.details(message) for message in receipts}


def _raise_outage(error: Exception) -> None:
    if is_outage(error) or isinstance(error, SoftTimeLimitExceeded):
        raise error


def _send_some(
    claim: Claim, channel: Channel, messages: Sequence[Message], details: Mapping[int, Details | Exception]
) -> set[int]:
    """Send messages until 2 seconds (`SENDING_TIME`) are over, and record each result. Return the ids of those begun.

    `details` has the variables and attachments of receipts, or the error from reading them, by message id. If the
    channel turns out to be unavailable, no further message is begun.
    """
    runtime, begun = claim.runtime, set[int]()
    unrecorded: Outcomes = {}
    answers: list[GatewayError | None] = []
    recorded, ends = runtime.clock(), runtime.clock() + SENDING_TIME
    for message in messages:
        if runtime.clock() >= ends or not claim.is_safe:
            break
        facts: dict[str, Any] = {"message": message.id, "request": message.request_id, "template": message.template}
        with tracing.span(message.channel, message.traceparent, role="client", **facts) as span:
            failure = _send(runtime, message, details.get(message.id, NOTHING))
            if failure is not None:
                span.fail(failure)
        begun.add(message.id)
        answers.append(failure)
        unrecorded[message] = failure
        if isinstance(failure, GatewayUnavailable):
            break
        if runtime.clock() - recorded >= RECORDED_WITHIN:
            unrecorded = _record_safely(claim, unrecorded)
            recorded = runtime.clock()
    note_answers(claim, SYSTEMS[channel], answers)
    while unrecorded := _record_safely(claim, unrecorded):
        if not claim.is_safe:
            log.error("messages.given_up", messages=sorted(message.id for message in unrecorded))
            break
        time.sleep(TRY_TO_RECORD_AGAIN)
    return begun


def _record_safely(claim: Claim, outcomes: Outcomes) -> Outcomes:
    """Record the results of sending in one transaction; if that fails, record each result in a transaction of its own.

    `outcomes` maps each message to its error, None if it was sent. Return the results that could not be recorded yet,
    so that the caller can try again: otherwise a sent message would be sent twice. If another transaction has locked
    the request, a sent message is recorded without its timeline entry. A refusal is left for the next try, because it
    must be noted in the request.
    """
    if not outcomes:
        return {}
    try:
        locked = _record(claim, outcomes)
    except (DBAPIError, PoolTimeout) as error:
        log.warning("messages.not_recorded", size=len(outcomes), error=repr(error))
        if len(outcomes) > 1:
            return _record_one_by_one(claim, outcomes)
        if not is_locked(error) or any(isinstance(failure, GatewayRefused) for failure in outcomes.values()):
            return outcomes
        locked = _record(claim, outcomes, told=False)
    return {message: failure for message, failure in outcomes.items() if message.id in locked}


def _record_one_by_one(claim: Claim, outcomes: Outcomes) -> Outcomes:
    left: Outcomes = {}
    for message, failure in outcomes.items():
        left |= _record_safely(claim, {message: failure}) if claim.is_safe else {message: failure}
    return left


def _send(runtime: Runtime, message: Message, details: Details | Exception) -> GatewayError | None:
    try:
        if isinstance(details, Exception):
            raise details
        if message.channel is Channel.LETTER:
            runtime.ports.letters.print_letter(render_letter(message, runtime.vault, runtime.base_url))
        else:
            mail = render_mail(message, runtime.vault, runtime.base_url, runtime.mail_domain, details, runtime.carrier)
            runtime.ports.mailer.send(mail)
    except GatewayError as error:
        return error
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        # A bug in one message must not stop the others; it is logged, and the message is retried.
        log.error("message.broke", message=message.id, template=message.template, exc_info=error)
        return GatewayError(type(error).__name__)
    return None


def _record(claim: Claim, outcomes: Outcomes, *, told: bool = True) -> set[int]:
    """Record the results of sending in one transaction; `outcomes` maps each message to its error, None if it was sent.

    A sent message is recorded as sent, and a failed attempt is counted, even if the lease was lost. A message that was
    refused for good is never sent again; if it asks for a proof or for consent, this is noted in its request. After any
    other error the message is scheduled for another attempt. With `told`, an entry is added to the request's timeline
    if the message is one that the timeline shows. Return the ids of messages that were not recorded, because another
    transaction has locked them.
    """
    runtime = claim.runtime
    sent = [message.id for message, failure in outcomes.items() if failure is None]
    news: list[tuple[Message, MessageState]] = []
    with runtime.database.transaction() as session:
        if told and (announced := [message.id for message in outcomes if message.announced]):
            lock_announcing(session, announced)
        now = runtime.clock()
        left = mark_sent(session, sent, now) if sent else set[int]()
        # In the order of sending, as the timeline shows them.
        news += [(message, MessageState.SENT) for message in outcomes if message.id in left]
        news += [(message, message.state) for message in _count_failed(claim, session, outcomes, now)]
        for message, state in news:
            if told and message.announced and message.request_id and state is not MessageState.QUEUED:
                code = "confirmed" if state is MessageState.SENT else "mail_refused"
                facts = {"name": message.recipient_name}
                batch_insert(session, TimelineEntry, request_id=message.request_id, at=now, code=code, facts=facts)
        missing = {message.id for message in outcomes} - {message.id for message, _ in news}
        locked = queued_ids(session, list(missing)) if missing else set()
    for message, state in news:
        outcome = state if state is not MessageState.QUEUED else "delayed"
        MAILS.labels(message.template, outcome).inc()
        about = {"request": str(message.request_id)} if message.request_id else {"message": message.id}
        with tracing.resumed(message.traceparent):
            log.info("message.left", **about, template=message.template, outcome=str(outcome))
    return locked


def _count_failed(claim: Claim, session: Session, outcomes: Outcomes, now: datetime) -> list[Message]:
    """Record in the messages which of them failed: refused for good, or to be sent again later. Return these messages.

    `outcomes` maps each message to its error, None if it was sent. Messages that another transaction has locked, or
    that are no longer queued, are left out.
    """
    failures = {message.id: failure for message, failure in outcomes.items() if failure is not None}
    if not failures:
        return []
    messages = still_queued(session, list(failures))
    for message in messages:
        if isinstance(failures[message.id], GatewayRefused):
            message.refuse(now)
            if message.template in QUESTIONS:
                QUESTIONS[message.template](session, message, now)
        else:
            message.attempts += 1
            if message.lease == claim.lease:
                message.make_due(now + claim.runtime.retry.pause(message.attempts))
    return messages
