"""Job `mails`: find messages that were not sent, and schedule them again.

Its findings name a request id, or a message id if there is no request, never an address or a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.messages.outbox import Message
from tasks.reconcile.job_run import Run

LATE = timedelta(minutes=15)
REFUSED_SINCE = timedelta(days=1)
PAGE = 200


def reconcile_mails(run: Run) -> None:
    """Make messages due now that are still unsent 15 minutes (`LATE`) after they were queued, and report them.

    Messages that were refused within the last day are reported, too. Findings of refused messages and of messages that
    have failed often count as not repaired. Safe to run twice: a message that was sent is never scheduled again.
    """
    after = 0
    while page := _page(run, after):
        after = page[-1]


def _page(run: Run, after: int) -> Sequence[int]:
    now = run.now
    with run.transaction() as session:
        messages = _left_over(session, now, after)
        for message in messages:
            run.counts["looked_at"] += 1
            if message.refused_at is not None:
                _find(run, "mail_refused", message, message.refused_at, repaired=False)
            else:
                message.make_due(now)
                often = run.runtime.retry.exhausted(message.attempts)
                _find(run, "mail_late", message, message.queued_at, repaired=not often)
        return [message.id for message in messages]


def _left_over(session: Session, now: datetime, after: int) -> Sequence[Message]:
    in_hand = sa.and_(Message.lease.is_not(None), Message.due_at > now)
    # The same as the state `queued`, and the condition of the index of these few.
    is_queued = Message.due_at.is_not(None)
    late = sa.and_(is_queued, Message.queued_at < now - LATE, ~in_hand)
    return session.scalars(
        sa.select(Message)
        .where(Message.id > after, sa.or_(late, Message.refused_at > now - REFUSED_SINCE))
        .order_by(Message.id)
        .limit(PAGE)
        .with_for_update(skip_locked=True)
    ).all()


def _find(run: Run, kind: str, message: Message, since: datetime, *, repaired: bool) -> None:
    run.find(
        kind,
        str(message.request_id or f"message {message.id}"),
        repaired=repaired,
        template=message.template,
        channel=message.channel,
        attempts=message.attempts,
        since=since.isoformat(),
    )
