"""The scheduler of Celery's beat, which does not add a hint to a queue that already holds one.

A hint is a Celery message that only says that rows of one kind of work are due for processing.
"""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler

from models.db.work_queue import WorkKind
from tasks.hints import waiting_hints


class HintScheduler(PersistentScheduler):
    """Celery's own scheduler, except that it adds no hint to a queue that already holds one.

    A hint is a message that only says that work is due. So a queue does not grow while no worker takes messages from
    it.
    """

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send the message of a schedule entry unless the queue of its task already holds a message.

        Return Celery's result of the sending; None if nothing was sent. The broker's connection errors are not caught.
        """
        sender = producer or self.producer
        if waiting_hints(sender.channel, WorkKind(entry.task)):
            return None
        return super().apply_async(entry, producer=sender, advance=advance, **options)
