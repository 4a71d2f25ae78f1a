"""Phone numbers in blocks of 1, 10 or 100, and the announcement of blocks to the registrar.

A number block is free when it belongs to no account and its quarantine is over (`available_from`), so that no job is
needed to end the quarantine. An exclusion constraint prevents two blocks from sharing a number.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.db.work_queue import QueueRow, WorkKind, due_index, lease_ends
from models.values import block_numbers, display_block

BLOCK_SIZES = (1, 10, 100)


def proposed_numbers(channels: int, per_channel: int) -> int:
    """Return the most numbers that the carrier proposes for a trunk: `per_channel` for each of its channels.

    More can be ordered.
    """
    return channels * per_channel


class NumberBlock(Base):
    """A number block: 1, 10 or 100 (`size`) consecutive numbers of one Ortsnetz (local exchange area, `area_code`).

    `first_number` is the block's lowest number in E.164, without the plus sign. A block without an account is free
    from `available_from` on. A block is never deleted and never changes its numbers.
    """

    __tablename__ = "number_blocks"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    area_code: Mapped[str] = mapped_column(sa.ForeignKey("area_codes.code"))
    first_number: Mapped[int] = mapped_column(sa.BigInteger)
    size: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"))
    trunk_id: Mapped[int | None] = mapped_column(sa.ForeignKey("sip_trunks.id"), index=True)
    available_from: Mapped[datetime]
    # Another carrier's: it does not go to the pool when its account loses it.
    ported_in: Mapped[bool] = mapped_column(default=False, server_default=sa.false())

    __table_args__ = (
        # In the order in which they are compared with the registrar's.
        sa.Index("ix_number_blocks_first_number", "first_number"),
        sa.CheckConstraint(f"size IN {BLOCK_SIZES}", name="size"),
        sa.CheckConstraint("mod(first_number, size) = 0", name="aligned"),
        sa.CheckConstraint("account_id IS NOT NULL OR trunk_id IS NULL", name="trunk_needs_account"),
        sa.CheckConstraint("starts_with(first_number::text, '49' || substr(area_code, 2))", name="in_area"),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(first_number, first_number + size)"), "&&"),
            name="ex_number_blocks_overlap",
            using="gist",
        ),
        # Not for free blocks: while statistics are old, the planner would find all of them by it, and sort them.
        sa.Index("ix_number_blocks_owned", "account_id", postgresql_where=sa.text("account_id IS NOT NULL")),
        sa.Index(
            "ix_number_blocks_free",
            "area_code",
            "size",
            "available_from",
            "id",
            postgresql_where=sa.text("account_id IS NULL"),
        ),
        # By any part of a number; see `models.telephony.number_search`.
        sa.Index(
            "ix_number_blocks_stem",
            sa.literal_column("((first_number / size)::text)", sa.Text).label("stem"),
            postgresql_using="gin",
            postgresql_ops={"stem": "gin_trgm_ops"},
            postgresql_where=sa.text("account_id IS NOT NULL"),
        ),
    )

    @hybrid_property
    def last_number(self) -> int:
        """Return the block's highest number in E.164, without the plus sign; on the class, SQL for that number."""
        return self.first_number + self.size - 1

    @classmethod
    def has(cls, number: int) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the block contains the number (E.164, without the plus sign)."""
        return cls.range_sql().bool_op("@>")(sa.literal(number, sa.BigInteger))

    @classmethod
    def range_sql(cls) -> sa.Function[Any]:
        """Return SQL for the block's numbers as an int8range, as the index `ex_number_blocks_overlap` has it."""
        return sa.func.int8range(cls.first_number, cls.first_number + cls.size)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return every number of the block in E.164, with the plus sign."""
        return block_numbers(self.first_number, self.size)

    @property
    def display(self) -> str:
        """Return the block in German notation: '030 2312551-0 … -9', or '030 2312551' for a block of one number."""
        return display_block(self.area_code, self.first_number, self.size)


def is_own_number(session: Session, account_id: int, number: int) -> bool:
    """Return whether one of the account's number blocks contains the number (E.164, as an integer)."""
    own = sa.select(NumberBlock.id).where(NumberBlock.account_id == account_id, NumberBlock.has(number))
    return session.scalar(own.limit(1)) is not None


class BlockAnnouncement(QueueRow, Base):
    """The task to tell the registrar that a number block is one of the carrier's; deleted once the registrar knows.

    The table is separate from the blocks, so that a worker with such a task does not lock the block: taking blocks from
    the pool skips locked ones.
    """

    __tablename__ = "block_announcements"
    WORK = WorkKind.REGISTRAR

    block_id: Mapped[int] = mapped_column(sa.ForeignKey("number_blocks.id"), primary_key=True)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")

    __table_args__ = (lease_ends(), due_index("block_announcements"))


@sa.event.listens_for(Base.metadata, "before_create")
def _provide_trigrams(_metadata: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    # Where the tables are made without the migrations.
    connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
