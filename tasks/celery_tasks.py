"""The Celery tasks: hints that something is due. They may be lost, doubled or late, and nothing breaks."""

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
from tasks.registrar.number_blocks import announce_due
from tasks.registrar.trunks import write_due

log = structlog.get_logger()


@shared_task(name="requests.advance")
def advance_requests() -> None:
    """Something is due. Safe to run twice, or for nothing: what is not due is left alone.

    After every part of a bulk's work comes whoever has ordered alone meanwhile: they wait for one part, not for all.
    """
    runtime = context.runtime()
    for work in (advance, write_due, announce_due, send_due, place_due):
        work(runtime, more_due=send_hint)
        advance(runtime, more_due=send_hint, alone=True)


@shared_task(name="requests.sweep")
def sweep_requests() -> None:
    """Hint if something is due that nobody has in hand. Safe with several beats."""
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
    """Run a scheduled job if it is due. Safe to run twice, at once or for nothing: the job's row decides."""
    run_job(context.runtime(), JOBS[name], send_hint)
