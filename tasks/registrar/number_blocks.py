"""Announce new number blocks to the registrar, which must know all of the carrier's numbers, free ones included."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from models.db.work_queue import claim_due
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from tasks.ports import Block, GatewayError
from tasks.runtime import Runtime

log = structlog.get_logger()

AT_ONCE = 1000
"""Blocks; two integers each."""


def announce_due_blocks(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Announce a batch of due blocks to the registrar. Safe to run twice, late or when nothing is due.

    A failed block is retried with exponential backoff.
    """
    lease, now = uuid.uuid4(), runtime.clock()
    with runtime.database.transaction() as session:
        ids = claim_due(session, BlockAnnouncement, now=now, lease=lease, until=now + runtime.lease, limit=AT_ONCE)
        claimed = BlockAnnouncement.block_id == sa.any_(sa.literal(ids, postgresql.ARRAY(sa.BigInteger)))
        rows = sa.select(NumberBlock.first_number, NumberBlock.size, BlockAnnouncement.attempts)
        found = session.execute(rows.join(BlockAnnouncement).where(claimed)).all() if ids else []
    if not found:
        return
    # If the lease has ended, the worker that claimed the blocks since announces the same data.
    ours = (claimed, BlockAnnouncement.lease == lease)
    told: sa.UpdateBase = sa.delete(BlockAnnouncement).where(*ours)
    try:
        runtime.ports.registrar.put_blocks([Block(row.first_number, row.size) for row in found])
    except GatewayError as error:
        attempts = max(row.attempts for row in found) + 1
        again = runtime.clock() + runtime.retry.pause(attempts)
        told = sa.update(BlockAnnouncement).where(*ours).values(due_at=again, attempts=attempts, lease=None)
        log.warning("blocks.not_announced", count=len(found), error=repr(error))
    else:
        log.info("blocks.announced", count=len(found))
        if len(found) == AT_ONCE:
            more_due()
    with runtime.database.transaction() as session:
        session.execute(told.execution_options(synchronize_session=False))
