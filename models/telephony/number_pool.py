"""The pool of free number blocks: counting, taking, adding and releasing them, and how long a released one rests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.db.work_queue import made_due
from models.errors import InvalidField, NoNumbersAvailable
from models.telephony.numbers import BLOCK_SIZES, BlockAnnouncement, NumberBlock
from models.values import national_to_e164

QUARANTINE = timedelta(days=90)
"""How long a released number rests, so that its next owner does not get the last one's calls."""


SET_ASIDE = datetime(9999, 1, 1, tzinfo=UTC)
"""`available_from` of a block that the registrar knows as somebody else's: never assigned until staff have looked."""


def _free(area_code: str, size: int, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        NumberBlock.area_code == area_code,
        NumberBlock.size == size,
        NumberBlock.account_id.is_(None),
        NumberBlock.available_from <= now,
    )


def pool_has(session: Session, area_code: str, size: int, now: datetime) -> bool:
    """Return whether the pool has a free block of this size now. No guarantee: other transactions take blocks too."""
    return session.scalar(sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(1)) is not None


def count_free(session: Session, area_code: str, size: int, now: datetime, most: int = 1000) -> int:
    """Return how many blocks of this size are free now, counted up to `most`. No guarantee: others take blocks too."""
    some = sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


class NumberPool:
    """Free number blocks for the orders of one transaction, assigned without waiting for other transactions.

    `wanted` is how many blocks of each area code and size the transaction may take: so many are locked with one
    statement on first use. Blocks that other transactions have locked are skipped.
    """

    def __init__(self, session: Session, now: datetime, wanted: Mapping[tuple[str, int], int]) -> None:
        self._session = session
        self._now = now
        self._wanted = wanted
        self._locked: dict[tuple[str, int], list[NumberBlock]] = {}

    def has(self, area_code: str, size: int) -> bool:
        """Return whether a block of this area code and size is left."""
        return bool(self._of(area_code, size))

    def take(self, area_code: str, size: int, account_id: int) -> NumberBlock:
        """Assign a block to an account, the one that has been free for longest. Raises `NoNumbersAvailable`."""
        blocks = self._of(area_code, size)
        if not blocks:
            raise NoNumbersAvailable(area_code, size)
        block = blocks.pop(0)
        block.account_id = account_id
        return block

    def _of(self, area_code: str, size: int) -> list[NumberBlock]:
        key = (area_code, size)
        if key not in self._locked:
            free = (
                sa.select(NumberBlock)
                .where(_free(area_code, size, self._now))
                .order_by(NumberBlock.available_from, NumberBlock.id)
                .limit(self._wanted.get(key, 1))
                # Who only refers to a block is in nobody's way.
                .with_for_update(skip_locked=True, key_share=True)
            )
            self._locked[key] = list(self._session.scalars(free))
        return self._locked[key]


def stock_pool(session: Session, area_code: str, first_subscriber: str, size: int, count: int, now: datetime) -> int:
    """Add `count` consecutive free blocks, the first at `first_subscriber` (digits after the area code).

    Returns how many blocks were added; numbers that are in the pool already stay unchanged. The blocks are due to be
    announced to the registrar.
    """
    if size not in BLOCK_SIZES:
        raise InvalidField("size", "unknown_block_size", BLOCK_SIZES)
    first = int(national_to_e164(area_code) + first_subscriber)
    if first % size:
        raise InvalidField("first_subscriber", "not_aligned", size)
    of_each = {
        NumberBlock.area_code: sa.literal(area_code),
        NumberBlock.size: sa.literal(size),
        NumberBlock.available_from: sa.literal(now),
    }
    firsts = sa.func.generate_series(sa.literal(first, sa.BigInteger), first + (count - 1) * size, size)
    rows = postgresql.insert(NumberBlock).from_select(
        [NumberBlock.first_number, *of_each], sa.select(firsts, *of_each.values())
    )
    added = rows.on_conflict_do_nothing().returning(NumberBlock.id).cte("added")
    announcements = sa.insert(BlockAnnouncement).from_select(
        ["block_id", "due_at"], sa.select(added.c.id, sa.literal(now)), include_defaults=False
    )
    made_due(session, BlockAnnouncement.WORK)
    return len(session.scalars(announcements.returning(BlockAnnouncement.block_id)).all())


def release_block(block: NumberBlock, now: datetime) -> None:
    """Take a block back from its account; it rests for `QUARANTINE` (90 days) before it can be assigned again."""
    block.account_id = None
    block.trunk_id = None
    block.available_from = now + QUARANTINE


def set_aside_block(block: NumberBlock) -> None:
    """Take a block back that the registrar knows as somebody else's. Nobody gets it; job `registrar` reports it."""
    block.account_id = None
    block.trunk_id = None
    block.available_from = SET_ASIDE
