"""The Celery tasks: hints that something is due. They may be lost, doubled or late, and nothing breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import structlog
from celery import Celery, shared_task
from kombu.exceptions import OperationalError

from models.bulk import Bulk
from models.due import count_due
from models.jobs import record_run
from models.messages import Message
from models.requests import Request
from models.telephony import BlockAnnouncement, SipTrunk
from tasks import current
from tasks.announce import announce_due
from tasks.bulk import place_due
from tasks.jobs import run_job
from tasks.metrics import SWEPT
from tasks.pipeline import advance
from tasks.post import send_due
from tasks.reconcile import JOBS
from tasks.sync import write_due

log = structlog.get_logger()

PATIENCE = 1.0
"""How long a program that only sends hints waits for the broker, in seconds: a customer waits with it."""


class BrokerPause:
    """Spares the callers a broker that does not answer; the sweep finds their rows.

    After a failure nobody asks for a while, then one caller asks for all. The pause is as long as the broker has
    been away already, `SHORTEST` seconds at least and `LONGEST` at most.
    """

    SHORTEST, LONGEST = 2.0, 30.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._away_since: float | None = None
        self._ends = 0.0

    def is_over(self) -> bool:
        """Whether this caller may ask. If the broker was away, the others wait for what this one finds."""
        with self._lock:
            if self._away_since is not None:
                if self._now() < self._ends:
                    return False
                self._begin(self._away_since)
            return True

    def found(self, *, away: bool) -> None:
        """What the caller that asked has found."""
        with self._lock:
            if not away:
                self._away_since = None
            else:
                self._begin(self._now() if self._away_since is None else self._away_since)

    def _begin(self, away_since: float) -> None:
        now = self._now()
        self._away_since = away_since
        self._ends = now + min(max(now - away_since, self.SHORTEST), self.LONGEST)


_pause = BrokerPause()


def sending_app(name: str, broker_url: str, *, connections: int = 1) -> Celery:
    """The Celery app of a program that runs no tasks: it only sends hints, and does not wait long for the broker.

    The settings are for these programs alone: a worker's own connection has to bear longer silences.
    """
    global _pause
    app = Celery(name)
    app.config_from_object("celeryconfig")
    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    app.conf.update(
        broker_url=broker_url,
        broker_pool_limit=connections,
        broker_transport_options=app.conf.broker_transport_options | patience,
    )
    _pause = BrokerPause()
    return app


def hint() -> bool:
    """After a commit: say that something is due. Never raises; False if the broker is away or not to be asked now."""
    return _with_pause(send_hint)


def hint_job(name: str) -> bool:
    """The same for a scheduled job. If it gets lost, beat asks whether the job is due the next time."""

    def ask(producer: Any) -> None:
        run_scheduled_job.apply_async((name,), producer=producer, retry=False)

    return _with_pause(lambda: _send(ask))


def send_hint() -> bool:
    """As `hint`, but asks the broker in any case: for workers, who would not run if it were away.

    A hint that nobody has taken yet is as good as another one: whoever takes it will see this row too. So the
    queue stays short however many orders come in.
    """

    def ask(producer: Any) -> None:
        if not producer.channel.queue_declare(advance_requests.app.conf.task_default_queue).message_count:
            advance_requests.apply_async(producer=producer, retry=False)

    return _send(ask)


def _with_pause(send: Callable[[], bool]) -> bool:
    pause = _pause
    if not pause.is_over():
        return False
    sent = send()
    pause.found(away=not sent)
    return sent


def _send(ask: Callable[[Any], None]) -> bool:
    app = advance_requests.app
    away: tuple[type[BaseException], ...] = (
        OSError,
        OperationalError,
        *app.connection_for_write().connection_errors,
    )
    try:
        with app.producer_or_acquire() as producer:
            ask(producer)
    except away as error:
        log.warning("hint.lost", error=repr(error))
        return False
    return True


@shared_task(name="requests.advance")
def advance_requests() -> None:
    """Something is due. Safe to run twice, or for nothing: what is not due is left alone.

    After every part of a bulk's work comes whoever has ordered alone meanwhile: they wait for one part, not for all.
    """
    runtime = current.runtime()
    for work in (advance, write_due, announce_due, send_due, place_due):
        work(runtime, more_due=send_hint)
        advance(runtime, more_due=send_hint, alone=True)


@shared_task(name="requests.sweep")
def sweep_requests() -> None:
    """Hint if something is due that nobody has in hand. Safe with several beats."""
    runtime = current.runtime()
    now = runtime.clock()
    with runtime.database.transaction() as session:
        due = sum(count_due(session, table, now) for table in (Request, SipTrunk, BlockAnnouncement, Message, Bulk))
        record_run(session, "sweep", now, due=due)
    SWEPT.inc(due)
    if due:
        send_hint()


@shared_task(name="jobs.run")
def run_scheduled_job(name: str) -> None:
    """Run a scheduled job if it is due. Safe to run twice, at once or for nothing: the job's row decides."""
    run_job(current.runtime(), JOBS[name], send_hint)
