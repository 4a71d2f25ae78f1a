"""Counts of failed attempts to enter a code, a password or a second factor, in the database if there is no Redis.

Time is divided into windows of equal length, numbered since 1970 by the database's clock; each has a count of its own.
The limit is a sliding window: to the count of the present window, a share of the previous window's count is added. The
share is the part of the previous window that is less than one window length ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base


class AttemptCount(Base):
    """The number of attempts within one window that count for one limit.

    `key` names the limit and, by a hash, the person, address or other subject that it limits. `number` is the number of
    the window. `ends_at` is the time from which the count is not needed any more: two window lengths after the window's
    start.
    """

    __tablename__ = "attempt_counts"

    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    attempts: Mapped[int]
    ends_at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        sa.Index("ix_attempt_counts_ends_at", "ends_at"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for rows that may be deleted: their window, and the one after it, are over."""
        return cls.ends_at <= now


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """The attempts that count for one limit now: those of the previous and of the present window.

    `left_before` is how many seconds the previous window's attempts still count in part; 0 if there are none. `left` is
    how many seconds those of the present window still count, in whole or in part.
    """

    attempts_before: int
    left_before: float
    attempts: int
    left: float


def count_attempts(session: Session, key: str, most: int, seconds: int, amount: int) -> bool:
    """Add `amount` attempts to the present window, unless more than `most` would count then; return whether added.

    A negative `amount` takes attempts back, and always returns True. `key` names the limit, `seconds` is the length of
    a window. Two callers at the same moment wait for each other, so together they do not exceed the limit. A count that
    would fall to 0 is deleted.
    """
    if amount < 0:
        taken = {"key": key, "seconds": seconds, "amount": -amount}
        if session.scalar(_DELETE, taken) is None:
            session.execute(_TAKE_BACK, taken)
        return True
    return session.scalar(_COUNT, {"key": key, "most": most, "seconds": seconds, "amount": amount}) is not None


def sliding_window(session: Session, key: str, seconds: int) -> SlidingWindow:
    """Return the attempts that count now for the limit `key`, whose windows are `seconds` seconds long."""
    row = session.execute(_READ, {"key": key, "seconds": seconds}).one()
    return SlidingWindow(row.before, row.left_before if row.before else 0.0, row.present, row.left_before + seconds)


# `present`: the number of the present window, and the share of the one before that still counts.
_PRESENT = """
    WITH at AS (SELECT extract(epoch FROM clock_timestamp())::float8 / :seconds AS windows),
    present AS (SELECT floor(windows)::bigint AS number, 1 - (windows - floor(windows)) AS share FROM at),
    before AS (
        SELECT coalesce((
            SELECT attempts FROM attempt_counts WHERE key = :key AND number = (SELECT number - 1 FROM present)
        ), 0) AS attempts
    )
"""
_COUNT = sa.text(f"""
    {_PRESENT}
    INSERT INTO attempt_counts AS counted (key, number, attempts, ends_at)
    SELECT :key, present.number, CAST(:amount AS integer), to_timestamp((present.number + 2) * :seconds)
    FROM present, before WHERE floor(before.attempts * present.share) + :amount <= :most
    ON CONFLICT (key, number) DO UPDATE SET attempts = counted.attempts + :amount
    WHERE floor((SELECT before.attempts * present.share FROM present, before) + counted.attempts) + :amount <= :most
    RETURNING attempts
""")  # noqa: S608 - our own text
_OF_PRESENT = "key = :key AND number = floor(extract(epoch FROM clock_timestamp())::float8 / :seconds)::bigint"
_DELETE = sa.text(
    f"DELETE FROM attempt_counts WHERE {_OF_PRESENT} AND attempts <= :amount RETURNING attempts"  # noqa: S608
)
_TAKE_BACK = sa.text(
    f"UPDATE attempt_counts SET attempts = greatest(attempts - :amount, 0) WHERE {_OF_PRESENT}"  # noqa: S608
)
_READ = sa.text(f"""
    {_PRESENT}
    SELECT before.attempts AS before, present.share * :seconds AS left_before, coalesce((
        SELECT attempts FROM attempt_counts WHERE key = :key AND number = present.number
    ), 0) AS present FROM present, before
""")  # noqa: S608
