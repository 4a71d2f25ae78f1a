"""Functions that do the workers' work in a test's own process: a batch of each kind, in the order of an order's way."""

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
    """Ignore that more work is due: the default for more_due, which in a worker sends a hint."""


def advance_requests(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Run one batch of due steps of requests, first those in the database alone, then those with the registrar.

    `more_due` is called if a full batch was found, so that more may be due.
    """
    advance(runtime, WorkKind.VERIFY, more_due)
    advance(runtime, WorkKind.PROVISION, more_due)


def send_messages(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Send one batch of due letters and one of due mails. `more_due` is called if more may be due."""
    for channel in (Channel.LETTER, Channel.MAIL):
        send_due(runtime, channel, more_due)


def sync_registrar(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Write one batch of due trunks and one of number blocks to the registrar.

    `more_due` is called if more may be due.
    """
    write_due_trunks(runtime, more_due)
    announce_due_blocks(runtime, more_due)


def process_due(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Do one batch of each kind of due work: requests, registrar, messages and bulks.

    `more_due` is called if more may be due.
    """
    advance_requests(runtime, more_due)
    sync_registrar(runtime, more_due)
    send_messages(runtime, more_due)
    place_due(runtime, more_due)
