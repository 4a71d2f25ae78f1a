"""Requests to erase a person's personal data, open or carried out; `models.staff.erasing_people` erases the data."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base


class Erasure(Base):
    """The request to erase a user's personal data; `done_at` is when the data was erased, null until then.

    The row is inserted in the transaction that ends the user's access.
    """

    __tablename__ = "erasures"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True, autoincrement=False)
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]

    __table_args__ = (sa.Index("ix_erasures_open", "user_id", postgresql_where=sa.text("done_at IS NULL")),)


def is_being_erased(session: Session, user_id: int) -> bool:
    """Return whether the erasure of the user's personal data was requested and has not been carried out yet."""
    query = sa.select(Erasure.user_id).where(Erasure.user_id == user_id, Erasure.done_at.is_(None))
    return session.scalar(query) is not None
