"""The scheduler for Celery's beat: it never adds a second message to a queue, and ignores changes of the clock.

Its messages, called hints, have no content: they only say that rows of one kind of work may be due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery.beat import PersistentScheduler

from models.db.work_queue import WorkKind
from tasks.hints import waiting_hints
from tasks.rabbitmq import is_rabbitmq, send_by


class HintScheduler(PersistentScheduler):
    """Celery's scheduler, except that it adds no message to a queue that has one, and ignores changes of the clock.

    One message for each kind of work is enough, so queues do not grow while no worker runs. The time between two
    messages is measured with the machine's monotonic clock: Celery's own scheduler would send nothing for two minutes
    after the clock was set back by two minutes.
    """

    def setup_schedule(self) -> None:
        """Read the time at which each message was last sent from beat's schedule file. Celery calls this at the start.

        A time in the future, saved while the clock was wrong, is replaced by the present time.
        """
        # All of Celery's schedules ask the application for the time.
        self.app.now = _steady(self.app.now())  # type: ignore[method-assign]
        super().setup_schedule()
        for entry in self.schedule.values():
            now = entry.default_now()
            if entry.last_run_at is None or entry.last_run_at > now:
                entry.last_run_at = now

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send the message of a schedule entry, unless the queue of its task holds a message already.

        `entry`, `producer`, `advance` and `options` are those of Celery's `Scheduler.apply_async`. Return Celery's
        result of sending, None if nothing was sent. Connection errors of the broker are not caught.
        """
        sender = producer or self.producer
        if is_rabbitmq(sender.connection):
            # There the queue itself holds one message at most. Beat's own producer would keep its channel for good,
            # also after the server was away.
            with self.app.producer_or_acquire() as pooled:
                send = super().apply_async
                return send_by(pooled, lambda: send(entry, producer=pooled, advance=advance, **options))
        if waiting_hints(sender.channel, WorkKind(entry.task)):
            return None
        return super().apply_async(entry, producer=sender, advance=advance, **options)


def _steady(now: datetime) -> Callable[[], datetime]:
    """Return a clock that starts at `now` and advances steadily, even if the machine's clock is changed."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)
