"""The history of phone numbers: who had a number from when to when (§ 172 TKG).

Each row is about a whole number block and keeps the names and addresses of its own time. An exclusion constraint keeps
two rows of one block from ever overlapping. A row is kept to the end of the calendar year after the one in which the
account lost the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base
from models.telephony.numbers import NumberBlock
from models.values import BERLIN


class NumberAssignment(Base):
    """A number block in the hands of one account and one contract holder, from `since` until `until`.

    `until` is None while the account still has the block. `holder_…` is the name and address of the contract holder,
    `street`, `postal_code` and `city` the connection address, all as of then.
    """

    __tablename__ = "number_assignments"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    block_id: Mapped[int] = mapped_column(sa.ForeignKey("number_blocks.id"))
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    holder_name: Mapped[str]
    holder_street: Mapped[str]
    holder_postal_code: Mapped[str]
    holder_city: Mapped[str]
    street: Mapped[str]
    postal_code: Mapped[str]
    city: Mapped[str]

    __table_args__ = (
        sa.CheckConstraint("until >= since", name="ends_after_start"),
        postgresql.ExcludeConstraint(
            (sa.text("int8range(block_id, block_id, '[]')"), "&&"),
            (sa.text("tstzrange(since, until)"), "&&"),
            name="ex_number_assignments_overlap",
            using="gist",
        ),
        sa.Index("uq_number_assignments_open", "block_id", unique=True, postgresql_where=sa.text("until IS NULL")),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the calendar year in Berlin after the one in which the account lost it is over."""
        return cls.until < datetime(now.astimezone(BERLIN).year - 1, 1, 1, tzinfo=BERLIN)


# With plain SQL, because a statement of the ORM would first write every other change of the session.
_BEGIN = sa.text("""
    INSERT INTO number_assignments (block_id, account_id, since, holder_name, holder_street, holder_postal_code,
                                    holder_city, street, postal_code, city)
    SELECT :block_id, id, :now, name, street, postal_code, city, street, postal_code, city
    FROM accounts WHERE id = :account_id
""")
_END = sa.text("""
    UPDATE number_assignments SET until = greatest(since, :now) WHERE block_id = :block_id AND until IS NULL
""")

_END_STALE = sa.text("""
    UPDATE number_assignments AS assignment SET until = greatest(since, :now)
    FROM number_blocks AS block
    WHERE until IS NULL AND block.id = block_id AND block.account_id IS DISTINCT FROM assignment.account_id
""")
_BEGIN_MISSING = sa.text("""
    INSERT INTO number_assignments (block_id, account_id, since, holder_name, holder_street, holder_postal_code,
                                    holder_city, street, postal_code, city)
    SELECT block.id, account.id, :now, name, street, postal_code, city, street, postal_code, city
    FROM number_blocks AS block JOIN accounts AS account ON account.id = block.account_id
    WHERE NOT EXISTS (SELECT FROM number_assignments WHERE block_id = block.id AND until IS NULL)
    ON CONFLICT DO NOTHING
""")


def begin_assignment(session: Session, block_id: int, account_id: int, now: datetime) -> None:
    """Record that the account gets the number block now, with the names and addresses of now. One statement."""
    session.execute(_BEGIN, {"block_id": block_id, "account_id": account_id, "now": now})


def end_assignment(session: Session, block_id: int, now: datetime) -> None:
    """Record that the block's account loses it now. Does nothing if no account has the block. One statement."""
    session.execute(_END, {"block_id": block_id, "now": now})


def complete_history(session: Session, now: datetime) -> int:
    """Bring the history in line with the blocks that accounts have now; return how many rows were ended or added.

    A program of before the history, running beside this one, gives out and takes back blocks without a row. Safe to
    run twice.
    """
    changed = (session.execute(statement, {"now": now}) for statement in (_END_STALE, _BEGIN_MISSING))
    return sum(result.rowcount for result in changed)


def block_of(session: Session, number: int) -> NumberBlock | None:
    """Return the block that contains a number (E.164, as an integer); None if the number is not the carrier's."""
    numbers = sa.func.int8range(NumberBlock.first_number, NumberBlock.first_number + NumberBlock.size)
    return session.scalar(sa.select(NumberBlock).where(numbers.bool_op("@>")(sa.literal(number, sa.BigInteger))))


def history_of(session: Session, block: NumberBlock) -> Sequence[sa.Row[tuple[NumberAssignment, str]]]:
    """Return the kept rows of a block's history, the newest first, each with the account's customer number."""
    query: sa.Select[Any] = (
        sa.select(NumberAssignment, Account.customer_number)
        .join(Account, Account.id == NumberAssignment.account_id)
        .where(NumberAssignment.block_id == block.id)
        .order_by(NumberAssignment.since.desc(), NumberAssignment.id.desc())
    )
    return session.execute(query).all()
