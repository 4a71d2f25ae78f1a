"""Counts of failed attempts to enter a code, a password or a second factor, where no Redis counts them.

A count belongs to a window: a stretch of time of fixed length, numbered from 1970 by the database's clock. The limit
slides over two of them: of the window before counts the part that lies within the last stretch of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base


class AttemptCount(Base):
    """The number of attempts that one window has of one limit.

    `key` names the limit and, by a hash, whom or what it is for; `number` is the window's. `ends_at` is the time from
    which the count is of no use: two lengths of a window after the window's start.
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
    """What counts of one limit now: the window before and the present one, each with its attempts and seconds left.

    The window before has as many seconds left as of it lie within the last length of a window; the present one's are
    those until its attempts no longer count at all.
    """

    attempts_before: int
    left_before: float
    attempts: int
    left: float


def count_attempts(session: Session, key: str, most: int, seconds: int, amount: int) -> bool:
    """Add `amount` attempts (negative: take some back) to the present window, unless more than `most` would count.

    `key` names the limit, `seconds` is the length of a window. Return whether they were added. Two callers at the same
    moment wait for each other, so together they do not exceed the limit. A count that would fall to 0 is deleted.
    """
    if amount < 0:
        taken = {"key": key, "seconds": seconds, "amount": -amount}
        if session.scalar(_DELETE, taken) is None:
            session.execute(_TAKE_BACK, taken)
        return True
    return session.scalar(_COUNT, {"key": key, "most": most, "seconds": seconds, "amount": amount}) is not None


def sliding_window(session: Session, key: str, seconds: int) -> SlidingWindow:
    """Return what counts now of the limit `key`, whose windows have this length in seconds."""
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
