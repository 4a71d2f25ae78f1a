"""The scheduler of Celery's beat: it sends no hint while another one of the same kind waits."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler

from models.db.work_queue import WorkKind
from tasks.hints import waiting_hints


class HintScheduler(PersistentScheduler):
    """Celery's own scheduler, except that the queues do not grow while no worker takes the messages."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """Send the entry's message unless its queue already holds one. Raises what the broker raises."""
        sender = producer or self.producer
        if waiting_hints(sender.channel, WorkKind(entry.task)):
            return None
        return super().apply_async(entry, producer=sender, advance=advance, **options)
