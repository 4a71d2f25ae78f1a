"""Outages of external systems. After each failure to answer, no process calls the system for a growing time."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration

SHORTEST, LONGEST = timedelta(seconds=2), timedelta(minutes=1)
"""The shortest and the longest pause before a system is tried again. The shortest is the time between two sweeps."""
ONE_TRY = timedelta(seconds=40)
"""The time that one process has for a new try, before another process may try: longer than any call to a system."""


class ExternalSystem(StrEnum):
    """The external systems that the pipeline calls: the registrar, the mail server and the printing of letters."""

    REGISTRAR = "registrar"
    MAIL = "mail"
    LETTER = "letter"


class Outage(Base):
    """An external system that has failed to answer `failures` times in a row, first at the time `since`.

    No process calls it before `try_again_at`.
    """

    __tablename__ = "outages"

    system: Mapped[ExternalSystem] = mapped_column(enumeration(ExternalSystem, "system"), primary_key=True)
    since: Mapped[datetime]
    failures: Mapped[int]
    try_again_at: Mapped[datetime]

    def begin_try(self, now: datetime) -> None:
        """Reserve the next try of the system for the caller: no other process tries it for `ONE_TRY` (40 seconds)."""
        self.try_again_at = now + ONE_TRY


def lock_outage(session: Session, outage: Outage) -> bool:
    """Lock the row of an outage for a new try of the system, without waiting; return whether it is locked.

    False if another process is trying the system now, has begun another pause, or has ended the outage.
    """
    still = sa.select(Outage.system).where(Outage.system == outage.system, Outage.try_again_at == outage.try_again_at)
    return session.scalar(still.with_for_update(skip_locked=True)) is not None


def end_try(session: Session, system: ExternalSystem, reserved: datetime, now: datetime) -> None:
    """Allow the next try of the system in 2 seconds, because the reserved try made no call and so has no result.

    `reserved` is the value of the outage's `try_again_at` that `Outage.begin_try` has set; if it has another value now,
    nothing changes.
    """
    unused = sa.update(Outage).where(Outage.system == system, Outage.try_again_at == reserved)
    session.execute(unused.values(try_again_at=now + SHORTEST))


def begin_pause(session: Session, system: ExternalSystem, before: int, now: datetime) -> None:
    """Record that the system did not answer, and begin a pause: 2 seconds, doubled at each failure up to 1 minute.

    `before` is the number of failures that the caller knew when it began its work. If another number is recorded by
    now, another process has recorded the same failure already, and nothing is done.
    """
    outage = session.get(Outage, system, with_for_update=True)
    if outage is not None and outage.failures != before:
        return
    failures = 1 if outage is None else before + 1
    again = now + min(SHORTEST * int(2 ** min(failures - 1, 10)), LONGEST)
    row = postgresql.insert(Outage).values(system=system, since=now, failures=failures, try_again_at=again)
    renewed = {"failures": row.excluded.failures, "try_again_at": row.excluded.try_again_at}
    session.execute(row.on_conflict_do_update(index_elements=[Outage.system], set_=renewed))


def end_pause(session: Session, system: ExternalSystem) -> None:
    """Record that the system answers: delete its outage, if there is one."""
    session.execute(sa.delete(Outage).where(Outage.system == system))


def current_outages(session: Session) -> list[Outage]:
    """Return the outages of the systems that do not answer at present, the earliest begun first."""
    return list(session.scalars(sa.select(Outage).order_by(Outage.since)))
