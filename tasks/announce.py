"""Number blocks that are new reach the registrar: it has to know which numbers are ours, also those that nobody has."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql

from models.due import claim_due
from models.telephony import NumberBlock
from tasks.ports import Block, GatewayError
from tasks.steps import Runtime

log = structlog.get_logger()

AT_ONCE = 1000
"""Blocks; two integers each."""


def announce_due(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Tell the registrar of a batch of due blocks. Safe to run twice, late or for nothing: a block never changes.

    What fails is tried again at growing distances.
    """
    lease, now = uuid.uuid4(), runtime.clock()
    with runtime.database.transaction() as session:
        ids = claim_due(session, NumberBlock, now=now, lease=lease, until=now + runtime.lease, limit=AT_ONCE)
        claimed = NumberBlock.id == sa.any_(sa.literal(ids, postgresql.ARRAY(sa.BigInteger)))
        rows = sa.select(NumberBlock.first_number, NumberBlock.size, NumberBlock.attempts).where(claimed)
        found = session.execute(rows).all() if ids else []
    if not found:
        return
    outcome: dict[str, Any] = {"due_at": None, "attempts": 0}
    try:
        runtime.ports.registrar.put_blocks([Block(row.first_number, row.size) for row in found])
    except GatewayError as error:
        attempts = max(row.attempts for row in found) + 1
        outcome = {"due_at": runtime.clock() + runtime.retry.pause(attempts), "attempts": attempts}
        log.warning("blocks.not_announced", count=len(found), error=repr(error))
    else:
        log.info("blocks.announced", count=len(found))
        if len(found) == AT_ONCE:
            more_due()
    with runtime.database.transaction() as session:
        # Whoever had them meanwhile has announced the same.
        ours = sa.update(NumberBlock).where(claimed, NumberBlock.lease == lease)
        session.execute(ours.values(lease=None, **outcome).execution_options(synchronize_session=False))
