"""The Celery tasks: hints that requests are due. They carry ids, may be lost, doubled or late, and nothing breaks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from models.jobs import record_run
from models.requests import sweep_due
from tasks import current
from tasks.metrics import SWEPT
from tasks.pipeline import advance

log = structlog.get_logger()

SWEEP_LIMIT = 500
SWEEP_CHUNK = 16
# While the broker is away, do not make every customer wait for it: the sweep will find the rows.
_BROKER_PAUSE = 2.0
_broker_away_until = 0.0


def hint(ids: Sequence[uuid.UUID]) -> bool:
    """After a commit: say that these requests are due. Never raises; False if the broker is away."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return False
    try:
        advance_requests.apply_async(([str(id) for id in ids],), retry=False)
    except (OperationalError, OSError) as error:
        _broker_away_until = time.monotonic() + _BROKER_PAUSE
        log.warning("hint.lost", requests=[str(id) for id in ids], error=repr(error))
        return False
    return True


@shared_task(name="requests.advance")
def advance_requests(ids: list[str]) -> None:
    """These requests may be due. Safe to run twice: what is not due is left alone."""
    advance(current.runtime(), [uuid.UUID(id) for id in ids])


@shared_task(name="requests.sweep")
def sweep_requests() -> None:
    """Hint at every request that is due and was not picked up. Safe with several beats: rows are locked."""
    runtime = current.runtime()
    now = runtime.clock()
    with runtime.database.transaction() as session:
        ids = sweep_due(session, now=now, limit=SWEEP_LIMIT)
        record_run(session, "sweep", now, hinted=len(ids))
    SWEPT.inc(len(ids))
    for start in range(0, len(ids), SWEEP_CHUNK):
        hint(ids[start : start + SWEEP_CHUNK])
