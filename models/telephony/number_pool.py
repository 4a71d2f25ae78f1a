"""The pool of free number blocks: counting, taking, adding, withdrawing and releasing blocks.

A released block is in quarantine for 90 days before it is free again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, object_session

from models.db.work_queue import made_due
from models.errors import InvalidField, NoNumbersAvailable
from models.telephony.directory import withdraw_for_block
from models.telephony.number_history import begin_assignment, end_assignment, last_end
from models.telephony.numbers import BLOCK_SIZES, BlockAnnouncement, NumberBlock
from models.values import national_to_e164

QUARANTINE = timedelta(days=90)
"""How long a released number is assigned to nobody, so that its next user gets no calls for the previous one."""


SET_ASIDE = datetime(9999, 1, 1, tzinfo=UTC)
"""`available_from` of a block whose numbers the registrar lists under another trunk: not assigned until staff act."""


WITHDRAWN = datetime(9998, 1, 1, tzinfo=UTC)
"""`available_from` of a block that was withdrawn from the pool, or ported in and then released: assigned to nobody."""

RESERVED = datetime(9997, 1, 1, tzinfo=UTC)
"""`available_from` of a block that a running request for numbers has reserved: assigned to nobody else."""


def _free(area_code: str, size: int, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        NumberBlock.area_code == area_code,
        NumberBlock.size == size,
        NumberBlock.account_id.is_(None),
        NumberBlock.available_from <= now,
    )


def pool_has(session: Session, area_code: str, size: int, now: datetime) -> bool:
    """Return whether the area code has a free block of `size` numbers (1, 10 or 100) at `now`.

    The block may be gone at the next moment, since other transactions take blocks, too.
    """
    return session.scalar(sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(1)) is not None


def count_free(session: Session, area_code: str, size: int, now: datetime, most: int = 1000) -> int:
    """Return how many blocks of `size` numbers are free in the area code at `now`, counting no further than `most`.

    The number may change at the next moment, since other transactions take blocks, too.
    """
    some = sa.select(NumberBlock.id).where(_free(area_code, size, now)).limit(most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


class NumberPool:
    """Free number blocks for the orders of one transaction, which are taken without waiting for other transactions.

    `wanted` maps pairs of area code and block size to the number of blocks that the transaction may take. That many are
    locked with one statement when the pair is first used. Blocks that other transactions have locked are skipped.
    """

    def __init__(self, session: Session, now: datetime, wanted: Mapping[tuple[str, int], int]) -> None:
        self._session = session
        self._now = now
        self._wanted = wanted
        self._locked: dict[tuple[str, int], list[NumberBlock]] = {}

    def has(self, area_code: str, size: int) -> bool:
        """Return whether a block of this area code and of `size` numbers is left to take.

        The first call for an area code and size locks free blocks: as many as the constructor's `wanted` says for this
        pair, or one if the pair is not in `wanted`.
        """
        return bool(self._of(area_code, size))

    def take(self, area_code: str, size: int, account_id: int) -> NumberBlock:
        """Assign a block to the account with this id, and return it: of the free blocks, the one free for longest.

        Records the assignment in the history of numbers. Raises `NoNumbersAvailable` if no block of this area code and
        size is left.
        """
        block = self._next(area_code, size)
        begin_assignment(self._session, block.id, account_id, self._now)
        block.account_id = account_id
        return block

    def reserve(self, area_code: str, size: int) -> NumberBlock:
        """Reserve a block for a request, and return it. Nobody gets the block until it is assigned or freed.

        Assign it with `give_reserved_block`, free it with `free_reserved_block`. Raises `NoNumbersAvailable` if no
        block of this area code and size is left.
        """
        block = self._next(area_code, size)
        block.available_from = RESERVED
        return block

    def _next(self, area_code: str, size: int) -> NumberBlock:
        blocks = self._of(area_code, size)
        if not blocks:
            raise NoNumbersAvailable(area_code, size)
        return blocks.pop(0)

    def _of(self, area_code: str, size: int) -> list[NumberBlock]:
        key = (area_code, size)
        if key not in self._locked:
            free = (
                sa.select(NumberBlock)
                .where(_free(area_code, size, self._now))
                .order_by(NumberBlock.available_from, NumberBlock.id)
                .limit(self._wanted.get(key, 1))
                # FOR NO KEY UPDATE: a transaction that only inserts a reference to a block does not wait.
                .with_for_update(skip_locked=True, key_share=True)
            )
            self._locked[key] = list(self._session.scalars(free))
        return self._locked[key]


def stock_pool(session: Session, area_code: str, first_subscriber: str, size: int, count: int, now: datetime) -> int:
    """Add `count` consecutive free blocks of `size` numbers to the pool; return how many were added.

    `first_subscriber` is the first block's first number without the area code. The announcement of the blocks to the
    registrar is scheduled for now. Blocks with numbers that the table of blocks has already are skipped. Only blocks
    that were withdrawn (`withdraw_from_pool`) are added again. If an account has lost a withdrawn block less than
    `QUARANTINE` (90 days) ago, the block becomes free only when that time is over. A withdrawn block that was ported in
    from another carrier counts as the carrier's own from now on. Raises `InvalidField` if `size` is not 1, 10 or 100,
    or if the first number is not a multiple of `size`.
    """
    first = _first_number(area_code, first_subscriber, size)
    back = sa.update(NumberBlock).where(_among(first, size, count), NumberBlock.available_from == WITHDRAWN)
    # GREATEST passes over the null of a block without history.
    rested = sa.func.greatest(sa.literal(now), last_end(NumberBlock.id) + QUARANTINE)
    returned = session.scalars(back.values(available_from=rested, ported_in=False).returning(NumberBlock.id)).all()
    if returned:
        again = [{"block_id": id, "due_at": now} for id in returned]
        session.execute(postgresql.insert(BlockAnnouncement).values(again).on_conflict_do_nothing())
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
    return len(returned) + len(session.scalars(announcements.returning(BlockAnnouncement.block_id)).all())


def withdraw_from_pool(
    session: Session, area_code: str, first_subscriber: str, size: int, count: int
) -> tuple[int, list[NumberBlock]]:
    """Withdraw `count` consecutive blocks of `size` numbers from the pool, so that nobody is assigned them any more.

    `first_subscriber` is the first block's first number without the area code. Returns how many blocks were withdrawn,
    and the blocks that stay because they are assigned or reserved. Free blocks and those in quarantine are withdrawn;
    blocks that are set aside (`set_aside_block`) stay, as staff have yet to act on them. The job `registrar` then
    removes the withdrawn blocks from the registrar's numbers. `stock_pool` adds them again. Safe to run twice. Raises
    `InvalidField` if `size` is not 1, 10 or 100, or if the first number is not a multiple of `size`.
    """
    these = _among(_first_number(area_code, first_subscriber, size), size, count)
    pooled = NumberBlock.account_id.is_(None), NumberBlock.available_from.not_in((WITHDRAWN, SET_ASIDE, RESERVED))
    taken = sa.update(NumberBlock).where(these, *pooled).values(available_from=WITHDRAWN)
    gone = session.scalars(taken.returning(NumberBlock.id)).all()
    has_owner = sa.or_(NumberBlock.account_id.is_not(None), NumberBlock.available_from == RESERVED)
    given_out = sa.select(NumberBlock).where(these, has_owner)
    return len(gone), list(session.scalars(given_out.order_by(NumberBlock.first_number)))


def _first_number(area_code: str, first_subscriber: str, size: int) -> int:
    """Return the first number of the first block in E.164, as an integer.

    `first_subscriber` is this number without the area code. Raises `InvalidField` if there are no blocks of `size`
    numbers, or if none can begin with this number.
    """
    if size not in BLOCK_SIZES:
        raise InvalidField("size", "unknown_block_size", BLOCK_SIZES)
    first = int(national_to_e164(area_code) + first_subscriber)
    if first % size:
        raise InvalidField("first_subscriber", "not_aligned", size)
    return first


def _among(first: int, size: int, count: int) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the block is one of `count` consecutive blocks of `size` numbers from `first` on."""
    return sa.and_(
        NumberBlock.first_number.between(first, first + (count - 1) * size), NumberBlock.size == sa.literal(size)
    )


def give_reserved_block(session: Session, block: NumberBlock, account_id: int, trunk_id: int, now: datetime) -> None:
    """Assign a reserved block to the account and its trunk, and record this in the history of numbers."""
    begin_assignment(session, block.id, account_id, now)
    block.account_id, block.trunk_id, block.available_from = account_id, trunk_id, now


def free_reserved_block(block: NumberBlock, now: datetime) -> None:
    """Make a reserved block free at once, without quarantine, as nobody has had its numbers; ignore any other block."""
    if block.account_id is None and block.available_from == RESERVED:
        block.available_from = now


def release_block(block: NumberBlock, now: datetime) -> None:
    """Take a block from its account and trunk; it can be assigned to an account again after `QUARANTINE` (90 days).

    A block that was ported in belongs to another carrier, and is not assigned again. Records the release in the history
    of numbers, and withdraws a directory entry for one of the block's numbers. The block must be in a session.
    """
    _take_away(block, now)
    block.available_from = WITHDRAWN if block.ported_in else now + QUARANTINE


def set_aside_block(block: NumberBlock, now: datetime) -> None:
    """Take a block from its account and trunk, because the registrar lists one of its numbers under another trunk.

    The block is assigned to no account until staff act; the job `registrar` reports it to them. Records this in the
    history of numbers, and withdraws a directory entry for one of the block's numbers. The block must be in a session.
    """
    _take_away(block, now)
    block.available_from = SET_ASIDE


def _take_away(block: NumberBlock, now: datetime) -> None:
    session = object_session(block)
    assert session is not None
    end_assignment(session, block.id, now)
    withdraw_for_block(session, block, now)
    block.account_id = None
    block.trunk_id = None
