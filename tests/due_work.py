"""What the worker's processes do, as functions: each kind of work once, in the order in which an order passes them."""

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
    """Nobody hears that more is due."""


def advance_requests(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Run the steps of due requests, those in the database and those with the registrar."""
    advance(runtime, WorkKind.VERIFY, more_due)
    advance(runtime, WorkKind.PROVISION, more_due)


def send_messages(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Send due letters and mails."""
    for channel in (Channel.LETTER, Channel.MAIL):
        send_due(runtime, channel, more_due)


def sync_registrar(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Tell the registrar of due trunks and blocks."""
    write_due_trunks(runtime, more_due)
    announce_due_blocks(runtime, more_due)


def process_due(runtime: Runtime, more_due: Callable[[], object] = _nobody) -> None:
    """Do everything that is due, once."""
    advance_requests(runtime, more_due)
    sync_registrar(runtime, more_due)
    send_messages(runtime, more_due)
    place_due(runtime, more_due)
