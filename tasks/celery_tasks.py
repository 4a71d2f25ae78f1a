"""The Celery tasks. Messages are only hints that rows are due: they may be lost, doubled or late without harm."""

from __future__ import annotations

import structlog
from celery import shared_task

from models.bulk.bulk import Bulk
from models.db.work_queue import count_due
from models.jobs.jobs import record_run
from models.messages.outbox import Message
from models.requests.requests import Request
from models.telephony.numbers import BlockAnnouncement
from models.telephony.trunks import SipTrunk
from tasks import context
from tasks.bulk.place import place_due
from tasks.engine.advance import advance
from tasks.hints import send_hint
from tasks.metrics import SWEPT
from tasks.outbox.send import send_due
from tasks.reconcile import JOBS
from tasks.reconcile.job_run import run_job
from tasks.registrar.number_blocks import announce_due_blocks
from tasks.registrar.trunks import write_due_trunks

log = structlog.get_logger()


@shared_task(name="requests.advance")
def advance_requests() -> None:
    """Process everything that is due. Safe to run twice or when nothing is due.

    Requests outside a bulk are processed between a bulk's batches, so that they wait for one batch at most.
    """
    runtime = context.runtime()
    for work in (advance, write_due_trunks, announce_due_blocks, send_due, place_due):
        work(runtime, more_due=send_hint)
        advance(runtime, more_due=send_hint, alone=True)


@shared_task(name="requests.sweep")
def sweep_requests() -> None:
    """Send a hint if any row is due and not claimed by a worker. Safe to run in parallel."""
    runtime = context.runtime()
    now = runtime.clock()
    with runtime.database.transaction() as session:
        due = sum(count_due(session, table, now) for table in (Request, SipTrunk, BlockAnnouncement, Message, Bulk))
        record_run(session, "sweep", now, due=due)
    SWEPT.inc(due)
    if due:
        send_hint()


@shared_task(name="jobs.run")
def run_scheduled_job(name: str) -> None:
    """Run a scheduled job if its row says that it is due. Safe to run twice, in parallel or when not due."""
    run_job(context.runtime(), JOBS[name], send_hint)
