"""The scheduler of Celery's beat: it adds no hint to a queue that holds one, and needs no right clock.

A hint is a Celery message that only says that rows of one kind of work are due for processing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery.beat import PersistentScheduler

from models.db.work_queue import WorkKind
from tasks.hints import waiting_hints


class HintScheduler(PersistentScheduler):
    """Celery's own scheduler, except that it adds no hint to a queue that already holds one, and ignores clock changes.

    A hint is a message that only says that work is due. So a queue does not grow while no worker takes messages from
    it. The time between two hints is measured with the machine's monotonic clock: when the clock is set back by two
    minutes, Celery's own scheduler sends nothing for two minutes.
    """

    def setup_schedule(self) -> None:
        """Read from the schedule file when each message was last sent; a time to come, by a wrong clock, counts as now.

        Called by Celery at the start of beat.
        """
        # All of Celery's schedules ask the application for the time.
        self.app.now = _steady(self.app.now())  # type: ignore[method-assign]
        super().setup_schedule()
        for entry in self.schedule.values():
            now = entry.default_now()
            if entry.last_run_at is None or entry.last_run_at > now:
                entry.last_run_at = now

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send the message of a schedule entry unless the queue of its task already holds a message.

        Return Celery's result of the sending; None if nothing was sent. The broker's connection errors are not caught.
        """
        sender = producer or self.producer
        if waiting_hints(sender.channel, WorkKind(entry.task)):
            return None
        return super().apply_async(entry, producer=sender, advance=advance, **options)


def _steady(now: datetime) -> Callable[[], datetime]:
    """Return a clock that shows `now` and goes on from there, whatever is done to the machine's clock."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)
