"""Number pools for the demo: find a pool with free numbers and one without, and add numbers to a pool."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.orders.area_code_of_address import Certainty, certainty_of
from models.orders.restocking import Restocked, restock
from models.telephony.area_codes import AreaCode
from models.telephony.number_pool import pool_has, stock_pool
from models.telephony.numbers import NumberBlock
from models.telephony.place_facts import places_of
from models.values import national_to_e164
from workers.demo.cast import EMPTY_POOL, POOLS, Pool
from workers.demo.play import CannotPlay


def stocked(session: Session, preferred: str, size: int, now: datetime) -> Pool:
    """Return a pool of the demo data with a free block of `size` numbers, preferably that of area code `preferred`.

    Raises `CannotPlay` if no pool of the demo data has such a block.
    """
    for pool in sorted(POOLS, key=lambda pool: pool.area_code != preferred):
        if pool_has(session, pool.area_code, size, now):
            return pool
    raise CannotPlay(f"No pool has a free block of {size}; `standorte numbers stock` refills one.")


def empty(session: Session, now: datetime, taken: Collection[str] = ()) -> Pool:
    """Return a pool that has no free single number, but to which a single number can be added.

    A single number is a block of size 1. Area codes in `taken` are not considered. Raises `CannotPlay` if there is no
    pool of this kind.
    """
    usable = EMPTY_POOL.area_code not in taken and _next_number(session, EMPTY_POOL) is not None
    if usable and not pool_has(session, EMPTY_POOL.area_code, 1, now):
        return EMPTY_POOL
    untouched = (
        sa.select(AreaCode)
        .where(
            sa.func.length(AreaCode.code) == 5,
            AreaCode.code.not_in(taken),
            sa.not_(sa.exists().where(NumberBlock.area_code == AreaCode.code)),
        )
        .order_by(AreaCode.code)
        .limit(100)
    )
    for area in session.scalars(untouched):
        for postal_code in places_of(session).codes_of(area.name)[:1]:
            if certainty_of(session, postal_code, area.name, area.code) is Certainty.CERTAIN:
                return Pool(area.code, area.name, postal_code, EMPTY_POOL.prefix)
    raise CannotPlay("There is no area code left whose pool is empty.")


def refill(session: Session, pool: Pool, now: datetime) -> Restocked:
    """Add one single number to the pool, and retry the orders that were held because it had none.

    Return how many blocks were added and which orders are retried. Raises `CannotPlay` if all 1,000 numbers that the
    demo has for this pool (`Pool.prefix` with 000 to 999) were added before.
    """
    return restock(session, pool.area_code, _first_free(session, pool), 1, 1, now)


def stock(session: Session, pool: Pool, now: datetime) -> None:
    """Add one single number to the pool, without retrying the orders that are held because it had none.

    Raises `CannotPlay` if all 1,000 numbers that the demo has for this pool (`Pool.prefix` with 000 to 999) were added
    before.
    """
    stock_pool(session, pool.area_code, _first_free(session, pool), 1, 1, now)


def _first_free(session: Session, pool: Pool) -> str:
    first = _next_number(session, pool)
    if first is None:
        raise CannotPlay(f"All numbers of {pool.area_code} {pool.prefix}-000 … -999 have been given out.")
    return first


def _next_number(session: Session, pool: Pool) -> str | None:
    """Return the next number to add to the pool, without its area code; None if none is left.

    The demo has 1,000 numbers for a pool, `Pool.prefix` with 000 to 999. The next one follows all that were added.
    """
    prefix = national_to_e164(pool.area_code)
    start = int(f"{prefix}{pool.prefix}000")
    last = session.scalar(
        sa.select(sa.func.max(NumberBlock.first_number + NumberBlock.size)).where(
            NumberBlock.first_number.between(start, start + 999)
        )
    )
    following = max(start, last or 0)
    return str(following).removeprefix(prefix) if following < start + 1000 else None
