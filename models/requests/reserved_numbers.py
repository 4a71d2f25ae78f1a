"""The number block that a request for numbers reserves until its effective day; it is freed if the request fails."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import object_session

from models.requests.moved_blocks import free_replacements
from models.requests.requests import Request
from models.states import Kind
from models.telephony.number_pool import NumberPool, free_reserved_block
from models.telephony.numbers import NumberBlock


def reserve_numbers(pool: NumberPool, request: Request, now: datetime) -> None:
    """Reserve a number block of the pool for the request, and add a timeline entry.

    Safe to run twice: a request that has reserved a block keeps it. Raises `NoNumbersAvailable` if the pool has no
    block of the requested size and area code.
    """
    assert request.area_code is not None and request.block_size is not None
    if request.reserved_block_id is None:
        block = pool.reserve(request.area_code, request.block_size)
        request.reserved_block_id = block.id
        request.note(now, "numbers_reserved", numbers=block.display)


def free_reserved_numbers(request: Request, now: datetime) -> None:
    """Put the number block that the request has reserved back into the pool, and flush the session.

    Does nothing if the request has reserved none, or if the block has been added to the trunk already. A move puts all
    of its blocks back.
    """
    session = object_session(request)
    if request.kind is Kind.MOVE and session is not None:
        free_replacements(session, request, now)
    if request.reserved_block_id is not None and session is not None:
        free_reserved_block(session.get_one(NumberBlock, request.reserved_block_id), now)
        # The front may change the block only while the request that has reserved it runs.
        session.flush()
