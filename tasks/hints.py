"""Hints: Celery messages without content, which only say that rows of one kind of work are due.

A lost hint does no harm: the task `sweep` sends another one within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from threading import Lock
from typing import Any

import structlog
from amqp.exceptions import AMQPError
from celery import Celery, current_app
from kombu.exceptions import OperationalError

from models.db.work_queue import WorkKind
from tasks.broker_address import BrokerAddress
from tasks.rabbitmq import is_rabbitmq, send_by, write_to_all_queues

log = structlog.get_logger()

PATIENCE = 1.0
"""How many seconds a program that only sends hints waits for the broker; short, because a customer waits too."""
READY_KEY = "standorte-ready"
"""The Redis key that the check of the broker writes, kept for a minute; with RabbitMQ the queue that it writes to."""


class BrokerPause:
    """A circuit breaker for the message broker: after a failure no caller contacts the broker for a while.

    When the pause is over, one caller tries the broker while the others still avoid it. The pause is as long as the
    broker has been unreachable so far, at least 2 and at most 30 seconds.
    """

    SHORTEST, LONGEST = 2.0, 30.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._away_since: float | None = None
        self._ends = 0.0

    def is_over(self) -> bool:
        """Return whether the caller may contact the broker now.

        True if no pause is under way, or if the pause has just ended and this caller is the one that tries the broker
        again; for all other callers another pause begins. Report the result of the try with `found`.
        """
        with self._lock:
            if self._away_since is not None:
                if self._now() < self._ends:
                    return False
                self._begin(self._away_since)
            return True

    def found(self, *, away: bool) -> None:
        """Begin a pause if the broker was found unreachable (`away`); end the pause if the broker has answered."""
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
    """Return a Celery app that only sends messages, with short timeouts and at most `connections` broker connections.

    `name` is the app's name; `broker_url` is the broker's URL, in one of the forms allowed for the setting BROKER_URL.
    For programs that run no tasks: a worker's connection needs longer timeouts. Also resets this process's circuit
    breaker for the broker.
    """
    global _pause
    app = Celery(name)
    app.config_from_object("celeryconfig")
    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    broker = BrokerAddress(broker_url).celery_settings
    app.conf.update(
        broker_url=broker["broker_url"],
        broker_use_ssl=broker["broker_use_ssl"],
        task_queues=broker["task_queues"],
        broker_pool_limit=connections,
        broker_transport_options=app.conf.broker_transport_options | broker["broker_transport_options"] | patience,
    )
    _pause = BrokerPause()
    return app


def hint(kinds: Collection[WorkKind]) -> bool:
    """Send a Celery message for each of these kinds of work, so that workers process the rows that are due.

    For programs that people wait for, such as the front. Call this function after the commit that made the rows due.
    Never raises. Return False if the broker is unreachable, or was unreachable so recently that it is not contacted
    now.
    """
    pause = _pause
    if not pause.is_over():
        return False
    sent = all(send_hint(kind) for kind in kinds)
    pause.found(away=not sent)
    return sent


def send_hint(kind: WorkKind) -> bool:
    """Send a Celery message that rows of this kind of work are due, unless one waits in its queue already.

    Never raises: returns False if the broker is unreachable, else True. One message is enough, because the worker that
    takes it finds every due row. So the queues stay short under load, and while no worker runs.
    """
    try:
        with current_app.producer_or_acquire() as producer:
            if is_rabbitmq(producer.connection):
                send_by(producer, lambda: current_app.send_task(kind, producer=producer, retry=False))
            elif not waiting_hints(producer.channel, kind):
                current_app.send_task(kind, producer=producer, retry=False)
    except _away() as error:
        log.warning("hint.lost", kind=kind, error=repr(error))
        return False
    return True


def send_hints(kinds: Iterable[WorkKind]) -> None:
    """Send a Celery message for each of these kinds of work, so that workers process the rows that are due.

    For worker processes: contacts the broker even if it was unreachable a moment ago. Never raises.
    """
    for kind in kinds:
        send_hint(kind)


def broker_fault() -> str | None:
    """Check that the broker can be written to and that its queues are intact; return what is wrong, or None.

    Writes a key (to RabbitMQ a message), because a broker that is full or has become a replica still answers a ping.
    The returned text is the name of an error, or says that a key with the name of a queue is no list. The current
    Celery app must have been made by `sending_app`. Never raises for a broker that does not answer.
    """
    try:
        with current_app.connection_for_write() as connection:
            if is_rabbitmq(connection):
                write_to_all_queues(connection, READY_KEY)
                return None
            channel: Any = connection.default_channel
            client = channel.client
            client.set(READY_KEY, 1, ex=60)
            if {client.type(kind) for kind in WorkKind} - {b"none", b"list"}:
                return "a foreign key in the place of a queue"
    except _away() as error:
        return type(error).__name__
    return None


def waiting_hints(channel: Any, kind: WorkKind) -> int:
    """Return how many Celery messages wait in the queue of this kind of work, if the broker is a Redis.

    `channel` is an open kombu channel to that Redis. Not needed for RabbitMQ, whose queues hold one message at most.
    """
    return int(channel.queue_declare(kind).message_count)


def _away() -> tuple[type[BaseException], ...]:
    # Channel errors: a broker that answers but takes nothing, as a read-only replica or a full one does.
    connection = current_app.connection_for_write()
    return (OSError, OperationalError, AMQPError, *connection.connection_errors, *connection.channel_errors)
