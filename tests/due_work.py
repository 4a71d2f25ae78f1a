"""Functions that do the workers' work in the test's own process: one batch of due work of each kind."""

from __future__ import annotations

from collections.abc import Callable

from models.db.work_queue import WorkKind
from models.messages.outbox import Channel
from tasks.bulk.place import place_due
from tasks.engine.advance import advance
from tasks.outbox.send import send_due
from tasks.registrar.number_blocks import announce_due_blocks
from tasks.registrar.trunks import write_due_trunks
from tasks.runtime import Runtime


def _nobody() -> None:
    """Do nothing: the default of the parameter `more_due`.

    In a worker, `more_due` sends a Celery message that more rows are due.
    """


def advance_requests(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Run one batch of due steps that need only the database, then one of due steps that call the registrar.

    Call `more_due` for each of the two batches that was full, because more may be due.
    """
    advance(runtime, WorkKind.VERIFY, more_due)
    advance(runtime, WorkKind.PROVISION, more_due)


def send_messages(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Send one batch of due letters and one of due mails.

    Call `more_due` after each full batch, because more may be due.
    """
    for channel in (Channel.LETTER, Channel.MAIL):
        send_due(runtime, channel, more_due)


def sync_registrar(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Write one batch of due trunks and one of due number blocks to the registrar.

    Call `more_due` after each full batch, because more may be due.
    """
    write_due_trunks(runtime, more_due)
    announce_due_blocks(runtime, more_due)


def process_due(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Do one batch of each kind of due work: requests, registrar, messages and bulk files, in this order.

    Call `more_due` after each full batch, because more may be due.
    """
    advance_requests(runtime, more_due)
    sync_registrar(runtime, more_due)
    send_messages(runtime, more_due)
    place_due(runtime, more_due)
