"""Restocking a number pool, and retrying the requests that were held because the pool was empty."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.errors import InvalidField
from models.requests.moved_blocks import lacks_numbers
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.area_codes import AreaCode
from models.telephony.number_pool import RESERVED, SET_ASIDE, WITHDRAWN, stock_pool
from models.telephony.numbers import NumberBlock
from models.values import national_to_e164

MOST_DIGITS = 13
"""The most digits of a German number with its country code, without the plus sign (BNetzA's number plan)."""


@dataclass(frozen=True, slots=True)
class Restocked:
    """The result of restocking: how many blocks were added to the pool, and the ids of the requests retried."""

    added: int
    retried: list[uuid.UUID]


@dataclass(frozen=True, slots=True)
class PoolLine:
    """How many number blocks of one size an area code has, by what they are: free, in quarantine, given out and others.

    Reserved blocks count as given out. A block in quarantine becomes free by itself, one that is set aside only when
    staff act (`set_aside_block`).
    """

    area_code: str
    area_name: str
    size: int
    free: int
    quarantined: int
    given_out: int
    withdrawn: int
    set_aside: int


def restock(session: Session, area_code: str, first_subscriber: str, size: int, count: int, now: datetime) -> Restocked:
    """Add `count` consecutive free blocks of `size` numbers to an area code's pool, and retry requests that lack them.

    `first_subscriber` is the first block's first number without the area code. Safe to run twice: numbers that are in
    the pool already stay unchanged. The requests are those that are held for such a block, and moves that wait for the
    proof of their address and have not got all blocks. Those that another transaction has locked are left out. After
    the commit, a Celery message tells the workers that work is due, because the new blocks have to be announced to the
    registrar, too.

    Raises `InvalidField` if the area code is unknown, `first_subscriber` has other characters than digits or is not a
    multiple of `size`, the numbers are too long or outside the area code, or `size` is not 1, 10 or 100.
    """
    ensure_range(session, area_code, first_subscriber, size, count)
    added = stock_pool(session, area_code, first_subscriber, size, count, now)
    waiting = session.scalars(
        sa.select(Request)
        .where(
            Request.area_code == area_code,
            sa.or_(
                sa.and_(
                    Request.status == Status.HELD,
                    Request.reason == Reason.NO_NUMBERS_AVAILABLE,
                    sa.or_(Request.block_size == size, lacks_numbers(size)),
                ),
                sa.and_(Request.status == Status.PENDING, lacks_numbers(size)),
            ),
        )
        .order_by(Request.id)
        .with_for_update(skip_locked=True)
    ).all()
    for request in waiting:
        if request.status is Status.HELD:
            request.retry(now)
        else:
            request.make_due(now)
    return Restocked(added, [request.id for request in waiting])


def ensure_range(session: Session, area_code: str, first_subscriber: str, size: int, count: int) -> None:
    """Raise `InvalidField` unless the area code exists and all numbers of the blocks belong to it.

    `first_subscriber` is the first number of the first block without the area code; it must have only digits. `count`
    is the number of blocks, and `size` that of the numbers in each. A number may have at most `MOST_DIGITS` (13)
    digits, including the country code.
    """
    if session.get(AreaCode, area_code) is None:
        raise InvalidField("area_code", "unknown_area_code")
    if not (first_subscriber.isascii() and first_subscriber.isdigit()):
        raise InvalidField("first_subscriber", "not_digits")
    first = national_to_e164(area_code) + first_subscriber
    if len(str(int(first) + size * count - 1)) > MOST_DIGITS:
        raise InvalidField("first_subscriber", "too_long", MOST_DIGITS)
    if not str(int(first) + size * count - 1).startswith(national_to_e164(area_code)):
        raise InvalidField("count", "leaves_area_code")


def pool_levels(session: Session, now: datetime, area_code: str | None = None) -> list[PoolLine]:
    """Return how many blocks of each area code and size are free, in quarantine, given out, withdrawn and set aside.

    Sorted by area code, then block size. With `area_code`, only the lines of this area code are returned.
    """
    free = NumberBlock.account_id.is_(None) & (NumberBlock.available_from != RESERVED)
    counted = sa.func.count().filter
    query = (
        sa.select(
            AreaCode.code,
            AreaCode.name,
            NumberBlock.size,
            counted(free, NumberBlock.available_from <= now),
            counted(free, NumberBlock.available_from > now, NumberBlock.available_from.not_in((WITHDRAWN, SET_ASIDE))),
            counted(sa.not_(free)),
            counted(free, NumberBlock.available_from == WITHDRAWN),
            counted(free, NumberBlock.available_from == SET_ASIDE),
        )
        .join(NumberBlock, NumberBlock.area_code == AreaCode.code)
        .group_by(AreaCode.code, AreaCode.name, NumberBlock.size)
        .order_by(AreaCode.code, NumberBlock.size)
    )
    if area_code is not None:
        query = query.where(AreaCode.code == area_code)
    return [PoolLine(*row) for row in session.execute(query)]
