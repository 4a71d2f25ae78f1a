"""Write new number blocks to the registrar, which must know all of the carrier's numbers, free ones included."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from models.jobs.outages import ExternalSystem
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from tasks import tracing
from tasks.claims import Claim, claimed
from tasks.note_outages import note_answers
from tasks.ports import Block, GatewayError
from tasks.runtime import Runtime

log = structlog.get_logger()

AT_ONCE = 1000
"""The most number blocks that are written to the registrar in one call; a block is only two integers."""


def announce_due_blocks(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Write a batch of number blocks to the registrar whose announcement (a row in a work queue) is due.

    A failed write is retried with exponential backoff. `more_due` is called after claiming a full batch, because more
    announcements may be due. Safe to run twice, late or when nothing is due.
    """
    with claimed(runtime, BlockAnnouncement, more_due, limit=AT_ONCE, system=ExternalSystem.REGISTRAR) as claim:
        if claim.ids:
            _announce(claim)


def _announce(claim: Claim) -> None:
    runtime = claim.runtime
    ids = BlockAnnouncement.block_id == sa.any_(sa.literal(claim.ids, postgresql.ARRAY(sa.BigInteger)))
    with runtime.database.transaction() as session:
        rows = sa.select(NumberBlock.first_number, NumberBlock.size, BlockAnnouncement.attempts)
        found = session.execute(rows.join(BlockAnnouncement).where(ids)).all()
    # If the lease has ended, the worker that claimed the blocks since announces the same data.
    ours = (ids, BlockAnnouncement.lease == claim.lease)
    told: sa.UpdateBase = sa.delete(BlockAnnouncement).where(*ours)
    failure: GatewayError | None = None
    try:
        with tracing.span("registrar.put_blocks", role="client", together=len(found)):
            runtime.ports.registrar.put_blocks([Block(row.first_number, row.size) for row in found])
    except GatewayError as error:
        failure = error
        attempts = max((row.attempts for row in found), default=0) + 1
        again = runtime.clock() + runtime.retry.pause(attempts)
        told = sa.update(BlockAnnouncement).where(*ours).values(due_at=again, attempts=attempts, lease=None)
        log.warning("blocks.not_announced", count=len(found), error=repr(error))
    else:
        log.info("blocks.announced", count=len(found))
    with runtime.database.transaction() as session:
        session.execute(told.execution_options(synchronize_session=False))
    note_answers(claim, ExternalSystem.REGISTRAR, [failure])
