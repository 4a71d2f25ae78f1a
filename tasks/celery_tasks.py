"""The Celery tasks: one for each kind of work. Messages are only hints that rows are due: they may be lost, doubled or
late without harm."""

from __future__ import annotations

from collections import Counter

from celery import shared_task

from models.bulk.bulk import Bulk
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
from tasks.reconcile import JOBS
from tasks.reconcile.job_run import run_job
from tasks.registrar.number_blocks import announce_due_blocks
from tasks.registrar.trunks import write_due_trunks


@shared_task(name=WorkKind.VERIFY)
def verify_requests() -> None:
    """Run the steps of due requests that need only the database. Safe to run twice or when nothing is due."""
    advance(context.runtime(), WorkKind.VERIFY, lambda: send_hint(WorkKind.VERIFY))


@shared_task(name=WorkKind.PROVISION)
def provision_requests() -> None:
    """Write due orders to the registrar and complete them. Safe to run twice or when nothing is due."""
    advance(context.runtime(), WorkKind.PROVISION, lambda: send_hint(WorkKind.PROVISION))


@shared_task(name=WorkKind.MESSAGES)
def send_messages() -> None:
    """Send due letters and mails. Safe to run twice or when nothing is due."""
    for channel in (Channel.LETTER, Channel.MAIL):
        send_due(context.runtime(), channel, lambda: send_hint(WorkKind.MESSAGES))


@shared_task(name=WorkKind.REGISTRAR)
def sync_registrar() -> None:
    """Tell the registrar of changed trunks and new number blocks. Safe to run twice or when nothing is due."""
    for work in (write_due_trunks, announce_due_blocks):
        work(context.runtime(), lambda: send_hint(WorkKind.REGISTRAR))


@shared_task(name=WorkKind.BULKS)
def place_bulks() -> None:
    """Turn rows of uploaded files into requests. Safe to run twice or when nothing is due."""
    place_due(context.runtime(), lambda: send_hint(WorkKind.BULKS))


@shared_task(name=WorkKind.JOBS)
def run_scheduled_jobs() -> None:
    """Run the scheduled jobs whose rows say that they are due. Safe to run twice, in parallel or when none is due."""
    for job in JOBS.values():
        run_job(context.runtime(), job)


@shared_task(name=WorkKind.SWEEP)
def sweep() -> None:
    """Send a hint for each kind of work with rows that are due and not claimed. Safe to run in parallel."""
    runtime = context.runtime()
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
