"""The number block that a request for numbers reserves until its day, and puts back if it ends before."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import object_session

from models.requests.requests import Request
from models.telephony.number_pool import NumberPool, free_reserved_block
from models.telephony.numbers import NumberBlock


def reserve_numbers(pool: NumberPool, request: Request, now: datetime) -> None:
    """Reserve a block of the pool for the request, and add a timeline entry. Safe to run twice: one block each.

    Raises `NoNumbersAvailable` if the pool has no such block.
    """
    assert request.area_code is not None and request.block_size is not None
    if request.reserved_block_id is None:
        block = pool.reserve(request.area_code, request.block_size)
        request.reserved_block_id = block.id
        request.note(now, "numbers_reserved", numbers=block.display)


def free_reserved_numbers(request: Request, now: datetime) -> None:
    """Put the block that the request has reserved back into the pool.

    Do nothing if it has reserved none, or if the block is already the trunk's.
    """
    session = object_session(request)
    if request.reserved_block_id is not None and session is not None:
        free_reserved_block(session.get_one(NumberBlock, request.reserved_block_id), now)
        # The front may change the block only while the request that has reserved it runs.
        session.flush()
