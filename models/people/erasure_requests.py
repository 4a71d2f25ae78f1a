"""People whose personal data is to be erased, or was erased; `models.staff.erasing_people` does that."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base


class Erasure(Base):
    """A person who is to be erased; `done_at` is when it was done, null until then.

    The row is written in the transaction that ends the person's access.
    """

    __tablename__ = "erasures"

    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), primary_key=True, autoincrement=False)
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]

    __table_args__ = (sa.Index("ix_erasures_open", "user_id", postgresql_where=sa.text("done_at IS NULL")),)


def is_being_erased(session: Session, user_id: int) -> bool:
    """Return whether the user is to be erased and still has name and address, because the erasure is not done yet."""
    query = sa.select(Erasure.user_id).where(Erasure.user_id == user_id, Erasure.done_at.is_(None))
    return session.scalar(query) is not None
