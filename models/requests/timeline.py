"""The table of a request's timeline: the events of the request in the order in which they happened."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from models.db.base import Base


class TimelineEntry(Base):
    """One event of a request: `code` names it, `facts` are the values for its sentence (`tasks.wording.timeline`).

    Lock the request before adding an entry. A transaction may read the time and then wait for that lock. The database
    therefore raises a time that is earlier than the previous entry's to that time, so that times never run backwards.
    """

    __tablename__ = "timeline_entries"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("requests.id"))
    at: Mapped[datetime]
    code: Mapped[str]
    facts: Mapped[dict[str, Any]]

    __table_args__ = (sa.Index("ix_timeline_entries_request_id_id", "request_id", "id"),)
