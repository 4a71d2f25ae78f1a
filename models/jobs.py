"""When each scheduled job last ran, and what it did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base


class JobHeartbeat(Base):
    """The last run of a scheduled job."""

    __tablename__ = "job_heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime]
    counts: Mapped[dict[str, Any]]


def record_run(session: Session, name: str, now: datetime, **counts: int) -> None:
    """Remember that the job has run."""
    statement = postgresql.insert(JobHeartbeat).values(name=name, ran_at=now, counts=counts)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[JobHeartbeat.name],
            set_={"ran_at": statement.excluded.ran_at, "counts": statement.excluded.counts},
        )
    )


def last_run(session: Session, name: str) -> datetime | None:
    """When the job ran last; None if it never did."""
    return session.scalar(sa.select(JobHeartbeat.ran_at).where(JobHeartbeat.name == name))
