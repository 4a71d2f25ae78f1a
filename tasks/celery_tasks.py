"""The Celery tasks, one for each kind of work.

A task's message, called a hint, has no content: it only says that rows of a table are due to be processed. A lost,
doubled or late message does no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog
from celery import shared_task
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from models.bulk.bulk import Bulk
from models.db.transient_errors import is_outage
from models.db.work_queue import WorkKind, count_due
from models.jobs.jobs import record_run
from models.messages.outbox import Channel, Message
from models.requests.requests import Request
from models.telephony.numbers import BlockAnnouncement
from models.telephony.trunks import SipTrunk
from tasks import context
from tasks.bulk.place import place_due
from tasks.engine.advance import advance
from tasks.hints import send_hint
from tasks.metrics import SWEPT
from tasks.outbox.send import send_due
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.registrar.number_blocks import announce_due_blocks
from tasks.registrar.trunks import write_due_trunks
from tasks.runtime import Runtime

log = structlog.get_logger()


Task = Callable[[Runtime], None]


def _task(kind: WorkKind) -> Callable[[Task], Task]:
    """Return a decorator that registers a function as the Celery task of this kind of work.

    If the database does not answer, the task logs a warning and does not fail. Its rows stay due, and the task `sweep`
    sends messages for them later.
    """

    def register(work: Task) -> Task:
        @shared_task(name=kind)
        def run() -> None:
            try:
                work(context.runtime())
            except (DBAPIError, PoolTimeout) as error:
                if not is_outage(error):
                    raise
                log.warning("database.unavailable", task=kind, error=repr(error))

        return work

    return register


@_task(WorkKind.VERIFY)
def verify_requests(runtime: Runtime) -> None:
    """Run the steps of requests that are due, as far as the steps need only the database.

    Safe to run twice or when nothing is due.
    """
    advance(runtime, WorkKind.VERIFY, lambda: send_hint(WorkKind.VERIFY))


@_task(WorkKind.PROVISION)
def provision_requests(runtime: Runtime) -> None:
    """Write the trunks of new accounts to the registrar, and run the remaining steps of their orders.

    Takes the orders that are due in the step `provision`. Safe to run twice or when nothing is due.
    """
    advance(runtime, WorkKind.PROVISION, lambda: send_hint(WorkKind.PROVISION))


@_task(WorkKind.MESSAGES)
def send_messages(runtime: Runtime) -> None:
    """Send queued letters and mails that are due. Safe to run twice or when nothing is due."""
    for channel in (Channel.LETTER, Channel.MAIL):
        send_due(runtime, channel, lambda: send_hint(WorkKind.MESSAGES))


@_task(WorkKind.REGISTRAR)
def sync_registrar(runtime: Runtime) -> None:
    """Write changed trunks and new number blocks to the registrar's database.

    Also deletes the registrar's rows of closed trunks. Safe to run twice or when nothing is due.
    """
    for work in (write_due_trunks, announce_due_blocks):
        work(runtime, lambda: send_hint(WorkKind.REGISTRAR))


@_task(WorkKind.BULKS)
def place_bulks(runtime: Runtime) -> None:
    """Turn rows of bulks (uploaded files) into requests. Safe to run twice or when nothing is due."""
    place_due(runtime, lambda: send_hint(WorkKind.BULKS))


@_task(WorkKind.JOBS)
def run_scheduled_jobs(runtime: Runtime) -> None:
    """Run the scheduled jobs that are due, one after the other, until the worker is asked to stop.

    Safe to run twice, in parallel or when no job is due.
    """
    for job in JOBS.values():
        if not runtime.stopping():
            run_job(runtime, job)


@_task(WorkKind.SWEEP)
def sweep(runtime: Runtime) -> None:
    """Count the due rows that no worker has claimed, and send a Celery message for each kind of work that has any.

    This replaces messages that were lost. The count is saved and shown as a metric. Runs every second; safe to run
    in parallel.
    """
    now = runtime.clock()
    due: Counter[WorkKind] = Counter()
    with runtime.database.transaction() as session:
        for table in (SipTrunk, BlockAnnouncement, Message, Bulk):
            due[table.WORK] += count_due(session, table, now)
        for kind in (WorkKind.VERIFY, WorkKind.PROVISION):
            due[kind] = count_due(session, Request, now, Request.waits_for(kind))
        record_run(session, "sweep", now, due=due.total())
    SWEPT.inc(due.total())
    for kind in +due:
        send_hint(kind)
