"""Hints: Celery messages that only say that some row is due. The scheduled sweep replaces lost ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import structlog
from celery import Celery, current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger()

PATIENCE = 1.0
"""How long a program that only sends hints waits for the broker, in seconds: a customer waits with it."""


class BrokerPause:
    """A circuit breaker for the message broker: after a failure no caller contacts the broker for a while.

    When the pause is over, one caller tries the broker while the others go on skipping it. The pause is as long as
    the broker has been unreachable, within `SHORTEST` and `LONGEST` seconds.
    """

    SHORTEST, LONGEST = 2.0, 30.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._away_since: float | None = None
        self._ends = 0.0

    def is_over(self) -> bool:
        """Return whether the caller may contact the broker. After a pause only one caller gets True until `found`."""
        with self._lock:
            if self._away_since is not None:
                if self._now() < self._ends:
                    return False
                self._begin(self._away_since)
            return True

    def found(self, *, away: bool) -> None:
        """Record whether the broker was unreachable (`away`) when a caller contacted it."""
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
    """Return a Celery app that only sends hints, with short broker timeouts.

    For programs that run no tasks: a worker's connection needs longer timeouts.
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
    """Send a hint, after a commit. Never raises; returns False if the broker is unreachable or paused."""
    return _with_pause(send_hint)


def hint_job(name: str) -> bool:
    """Send a hint to run a scheduled job. Never raises; returns False if not sent. Beat sends another one later."""

    def ask(producer: Any) -> None:
        current_app.send_task("jobs.run", (name,), producer=producer, retry=False)

    return _with_pause(lambda: _send(ask))


def send_hint() -> bool:
    """Send a hint without a circuit breaker, for workers. Never raises; returns False if the broker is unreachable.

    Sends nothing if the queue already holds a hint: the worker that takes that one finds every due row. So the queue
    stays short under load.
    """

    def ask(producer: Any) -> None:
        if not producer.channel.queue_declare(current_app.conf.task_default_queue).message_count:
            current_app.send_task("requests.advance", producer=producer, retry=False)

    return _send(ask)


def _with_pause(send: Callable[[], bool]) -> bool:
    pause = _pause
    if not pause.is_over():
        return False
    sent = send()
    pause.found(away=not sent)
    return sent


def _send(ask: Callable[[Any], None]) -> bool:
    connection = current_app.connection_for_write()
    # Channel errors: a broker that answers but takes nothing, as a read-only replica or a full one does.
    away: tuple[type[BaseException], ...] = (
        OSError,
        OperationalError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
    try:
        with current_app.producer_or_acquire() as producer:
            ask(producer)
    except away as error:
        log.warning("hint.lost", error=repr(error))
        return False
    return True
