"""Send queued mails and letters. A message's row says when it is due; a lease says which worker has claimed it.

An outage of the mail server delays only mails, not requests. Each message is sent at least once, always under the same
key; see docs/decisions/0002.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from models.db.batch_insert import batch_insert
from models.db.work_queue import claim_due
from models.messages.outbox import Channel, Message, MessageState, still_queued
from models.requests.requests import TimelineEntry
from tasks.metrics import MAILS
from tasks.outbox.render import render_letter, render_mail
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable
from tasks.runtime import Runtime

log = structlog.get_logger()


SENDING_TIME = timedelta(seconds=2)
"""How long one call of `send_due` goes on beginning messages. Orders wait for the process meanwhile."""


def send_due(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Send up to a batch of due messages, starting none after `SENDING_TIME`.

    Messages that were claimed but not started are released: due at once, in their old order, with no attempt counted.
    So a slow mail server delays orders by one mail, and no lease ends while other messages of the batch are sent.
    `more_due` is called if messages may be left: after claiming a full batch and after releasing messages. Safe to
    run twice, late or when nothing is due.
    """
    lease, now = uuid.uuid4(), runtime.clock()
    with runtime.database.transaction() as session:
        ids = claim_due(session, Message, now=now, lease=lease, until=now + runtime.lease, limit=runtime.batch)
        claimed = still_queued(session, ids, lease) if ids else []
    if len(ids) == runtime.batch:
        more_due()
    if not claimed:
        return
    outcomes = _send_some(runtime, claimed)
    not_begun = [message.id for message in claimed if message.id not in outcomes]
    _record(runtime, lease, outcomes, not_begun)
    if not_begun:
        more_due()


def _send_some(runtime: Runtime, messages: Sequence[Message]) -> dict[int, GatewayError | None]:
    """Send messages until `SENDING_TIME` is over. Return each started message's error by id; None if it was sent.

    Once a channel is unavailable, the remaining messages of that channel get its error without being tried.
    """
    outcomes: dict[int, GatewayError | None] = {}
    away: dict[Channel, GatewayError] = {}
    ends = runtime.clock() + SENDING_TIME
    for message in messages:
        failure = away.get(message.channel)
        if failure is None:
            if runtime.clock() >= ends:
                continue
            failure = _send(runtime, message)
        outcomes[message.id] = failure
        if isinstance(failure, GatewayUnavailable):
            away[message.channel] = failure
    return outcomes


def _send(runtime: Runtime, message: Message) -> GatewayError | None:
    try:
        if message.channel is Channel.LETTER:
            runtime.ports.letters.print_letter(render_letter(message, runtime.vault, runtime.base_url))
        else:
            runtime.ports.mailer.send(render_mail(message, runtime.vault, runtime.base_url, runtime.mail_domain))
    except GatewayError as error:
        return error
    except Exception as error:
        # A bug in one message must not stop the others; it is logged, and the message is retried.
        log.error("message.broke", message=message.id, template=message.template, exc_info=error)
        return GatewayError(type(error).__name__)
    return None


def _record(
    runtime: Runtime, lease: uuid.UUID, outcomes: dict[int, GatewayError | None], not_begun: Sequence[int]
) -> None:
    news: list[Message] = []
    now = runtime.clock()
    with runtime.database.transaction() as session:
        for message in still_queued(session, not_begun, lease):
            message.give_back()
        for message in still_queued(session, list(outcomes), lease):
            failure = outcomes[message.id]
            if failure is None:
                message.left(now)
            elif isinstance(failure, GatewayRefused):
                message.refuse(now)
            else:
                message.attempts += 1
                message.make_due(now + runtime.retry.pause(message.attempts))
            if message.announced and message.request_id and message.state is not MessageState.QUEUED:
                code = "confirmed" if failure is None else "mail_refused"
                facts = {"name": message.recipient_name}
                batch_insert(session, TimelineEntry, request_id=message.request_id, at=now, code=code, facts=facts)
            news.append(message)
    for message in news:
        outcome = message.state if message.state is not MessageState.QUEUED else "delayed"
        MAILS.labels(message.template, outcome).inc()
        about = {"request": str(message.request_id)} if message.request_id else {"message": message.id}
        log.info("message.left", **about, template=message.template, outcome=str(outcome))
