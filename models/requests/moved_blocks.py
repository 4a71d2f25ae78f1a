"""The number blocks that an account loses by a move to another Ortsnetz, and those that are reserved in their place."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, object_session

from models.db.base import Base
from models.errors import NoNumbersAvailable
from models.requests.requests import Request
from models.states import Kind
from models.telephony.number_pool import NumberPool, free_reserved_block
from models.telephony.numbers import NumberBlock


class MovedBlock(Base):
    """A number block `block_id` that cannot stay with its account at the new address of the move `request_id`.

    `replacement_id` is the block of the same size that the account gets instead; None while none is reserved, and after
    the move has ended without success. `moved_at` is when one has taken the place of the other; None until then.
    """

    __tablename__ = "moved_blocks"

    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"), primary_key=True)
    block_id: Mapped[int] = mapped_column(sa.ForeignKey("number_blocks.id"), primary_key=True, autoincrement=False)
    replacement_id: Mapped[int | None] = mapped_column(sa.ForeignKey("number_blocks.id"))
    moved_at: Mapped[datetime | None]

    __table_args__ = (
        sa.CheckConstraint("replacement_id <> block_id", name="replaces_another"),
        sa.CheckConstraint("moved_at IS NULL OR replacement_id IS NOT NULL", name="moved_to_another"),
        # A block is reserved for one move at a time; later it may take the place of another.
        sa.Index(
            "uq_moved_blocks_reserved",
            "replacement_id",
            unique=True,
            postgresql_where=sa.text("replacement_id IS NOT NULL AND moved_at IS NULL"),
        ),
    )


def moved_blocks_of(session: Session, request: Request) -> Sequence[MovedBlock]:
    """Return the blocks that the account of a move loses, in the order of their ids."""
    query = sa.select(MovedBlock).where(MovedBlock.request_id == request.id).order_by(MovedBlock.block_id)
    return session.scalars(query).all()


def replacements_of(session: Session, request: Request) -> list[tuple[NumberBlock, NumberBlock | None]]:
    """Return pairs of a block that goes by a move and the one that comes for it, in the order of the numbers that go.

    The second one is None while none is reserved. A pair is left out if the caller may not see its first block any more
    (row-level security), because it has become another customer's.
    """
    comes = sa.orm.aliased(NumberBlock)
    query = (
        sa.select(NumberBlock, comes)
        .join(MovedBlock, MovedBlock.block_id == NumberBlock.id)
        .outerjoin(comes, comes.id == MovedBlock.replacement_id)
        .where(MovedBlock.request_id == request.id)
        .order_by(NumberBlock.first_number)
    )
    return [(goes, come) for goes, come in session.execute(query)]


def lacks_numbers(size: int | None = None) -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Request`: it is a move for which a block has not been reserved yet.

    With `size`, only a block of that many numbers counts.
    """
    missing = sa.select(MovedBlock.block_id).where(
        MovedBlock.request_id == Request.id, MovedBlock.replacement_id.is_(None)
    )
    if size is not None:
        missing = missing.join(NumberBlock, NumberBlock.id == MovedBlock.block_id).where(NumberBlock.size == size)
    return sa.and_(Request.kind == Kind.MOVE, missing.exists())


def sizes_wanted(request: Request) -> list[int]:
    """Return the sizes of the number blocks that a move has to reserve yet. Runs one statement."""
    session = object_session(request)
    if session is None:
        return []
    query = sa.select(NumberBlock.size).join(MovedBlock, MovedBlock.block_id == NumberBlock.id)
    missing = MovedBlock.request_id == request.id, MovedBlock.replacement_id.is_(None)
    return list(session.scalars(query.where(*missing).order_by(MovedBlock.block_id)))


def reserve_replacements(session: Session, pool: NumberPool, request: Request, now: datetime) -> None:
    """Reserve a block of the new area code for each block that goes by the move, with a timeline entry for each.

    Safe to run twice: what is reserved stays reserved. Raises `NoNumbersAvailable` if the pool has too few blocks; all
    those that it had, of every size, are reserved by then, and `Request.block_size` is the first size that is missing.
    """
    assert request.area_code is not None
    shortage: NoNumbersAvailable | None = None
    for one in moved_blocks_of(session, request):
        if one.replacement_id is None:
            goes = session.get_one(NumberBlock, one.block_id)
            try:
                block = pool.reserve(request.area_code, goes.size)
            except NoNumbersAvailable as error:
                if shortage is None:
                    request.block_size, shortage = goes.size, error
                continue
            one.replacement_id = block.id
            request.note(now, "replacement_reserved", numbers=block.display, before=goes.display)
    if shortage is not None:
        raise shortage
    request.block_size = None


def free_replacements(session: Session, request: Request, now: datetime) -> None:
    """Put the blocks that a move has reserved, and that have not taken another's place, back into the pool.

    Flushes the session.
    """
    reserved = [one for one in moved_blocks_of(session, request) if one.replacement_id and one.moved_at is None]
    query = sa.select(NumberBlock).where(NumberBlock.id.in_([one.replacement_id for one in reserved]))
    for block in session.scalars(query.order_by(NumberBlock.id).with_for_update()):
        free_reserved_block(block, now)
    # The front may change a block only while a running request has reserved it.
    session.flush()
    for one in reserved:
        one.replacement_id = None
    session.flush()
