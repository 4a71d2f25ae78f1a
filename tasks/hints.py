"""Hints: messages that only say that something is due. The sweep replaces one that is lost."""

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
        current_app.send_task("jobs.run", (name,), producer=producer, retry=False)

    return _with_pause(lambda: _send(ask))


def send_hint() -> bool:
    """As `hint`, but asks the broker in any case: for workers, who would not run if it were away.

    A hint that nobody has taken yet is as good as another one: whoever takes it will see this row too. So the
    queue stays short however many orders come in.
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
    away: tuple[type[BaseException], ...] = (
        OSError,
        OperationalError,
        *current_app.connection_for_write().connection_errors,
    )
    try:
        with current_app.producer_or_acquire() as producer:
            ask(producer)
    except away as error:
        log.warning("hint.lost", error=repr(error))
        return False
    return True
