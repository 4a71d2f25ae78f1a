"""External systems that were found away: all processes leave such a system alone for a growing while."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration

SHORTEST, LONGEST = timedelta(seconds=2), timedelta(minutes=1)
"""The first pause, which is as long as the time between two sweeps, and the longest."""
ONE_TRY = timedelta(seconds=40)
"""How long the process that tries again has before another one may: longer than any call to an external system."""


class ExternalSystem(StrEnum):
    """What the pipeline has to reach besides the portal's database."""

    REGISTRAR = "registrar"
    MAIL = "mail"
    LETTER = "letter"


class Outage(Base):
    """A system that did not answer `failures` times in a row; nobody tries it before `try_again_at`."""

    __tablename__ = "outages"

    system: Mapped[ExternalSystem] = mapped_column(enumeration(ExternalSystem, "system"), primary_key=True)
    since: Mapped[datetime]
    failures: Mapped[int]
    try_again_at: Mapped[datetime]

    def begin_try(self, now: datetime) -> None:
        """Reserve the next try for the caller, which has `ONE_TRY` for it."""
        self.try_again_at = now + ONE_TRY


def lock_outage(session: Session, outage: Outage) -> bool:
    """Lock the outage to try the system again; return False if another process tries it, or has just ended it."""
    still = sa.select(Outage.system).where(Outage.system == outage.system, Outage.try_again_at == outage.try_again_at)
    return session.scalar(still.with_for_update(skip_locked=True)) is not None


def end_try(session: Session, system: ExternalSystem, reserved: datetime, now: datetime) -> None:
    """Let somebody else try soon if the reserved try came to no call, so that nothing is known about the system."""
    unused = sa.update(Outage).where(Outage.system == system, Outage.try_again_at == reserved)
    session.execute(unused.values(try_again_at=now + SHORTEST))


def begin_pause(session: Session, system: ExternalSystem, before: int, now: datetime) -> None:
    """Record that the system did not answer: the next pause is twice as long as the one before, up to `LONGEST`.

    `before` is the number of failures that were known when the caller began its work. If more are known by now,
    the caller is one of several that tried at the same time, and nothing is recorded.
    """
    outage = session.get(Outage, system, with_for_update=True)
    if outage is not None and outage.failures != before:
        return
    failures = before + 1
    again = now + min(SHORTEST * int(2 ** min(failures - 1, 10)), LONGEST)
    row = postgresql.insert(Outage).values(system=system, since=now, failures=failures, try_again_at=again)
    renewed = {"failures": row.excluded.failures, "try_again_at": row.excluded.try_again_at}
    session.execute(row.on_conflict_do_update(index_elements=[Outage.system], set_=renewed))


def end_pause(session: Session, system: ExternalSystem) -> None:
    """Record that the system answers."""
    session.execute(sa.delete(Outage).where(Outage.system == system))


def current_outages(session: Session) -> list[Outage]:
    """Return the systems that are away, the longest first."""
    return list(session.scalars(sa.select(Outage).order_by(Outage.since)))
