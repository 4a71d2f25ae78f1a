"""The Celery tasks: hints that something is due. They may be lost, doubled or late, and nothing breaks."""

from __future__ import annotations

import time

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from models.due import count_due
from models.jobs import record_run
from models.messages import Message
from models.requests import Request
from tasks import current
from tasks.metrics import SWEPT
from tasks.pipeline import advance
from tasks.post import send_due

log = structlog.get_logger()

# While the broker is away, do not make every customer wait for it: the sweep will find the rows.
_BROKER_PAUSE = 2.0
_broker_away_until = 0.0


def hint() -> bool:
    """After a commit: say that something is due. Never raises; False if the broker is away.

    A hint that nobody has taken yet is as good as another one: whoever takes it will see this row too. So the
    queue stays short however many orders come in.
    """
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return False
    app = advance_requests.app
    away: tuple[type[BaseException], ...] = (
        OSError,
        OperationalError,
        *app.connection_for_write().connection_errors,
    )
    try:
        with app.producer_or_acquire() as producer:
            queue = app.conf.task_default_queue
            if not producer.channel.queue_declare(queue).message_count:
                advance_requests.apply_async(producer=producer, retry=False)
    except away as error:
        _broker_away_until = time.monotonic() + _BROKER_PAUSE
        log.warning("hint.lost", error=repr(error))
        return False
    return True


@shared_task(name="requests.advance")
def advance_requests() -> None:
    """Something is due. Safe to run twice, or for nothing: what is not due is left alone."""
    runtime = current.runtime()
    advance(runtime, more_due=hint)
    send_due(runtime, more_due=hint)


@shared_task(name="requests.sweep")
def sweep_requests() -> None:
    """Hint if something is due that nobody has in hand. Safe with several beats."""
    runtime = current.runtime()
    now = runtime.clock()
    with runtime.database.transaction() as session:
        due = count_due(session, Request, now) + count_due(session, Message, now)
        record_run(session, "sweep", now, due=due)
    SWEPT.inc(due)
    if due:
        hint()
