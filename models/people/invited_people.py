"""Names of invited people, for the audit log: its entries cannot be changed, and have only an invitation's id."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.db.base import Base


class InvitedPerson(Base):
    """The name and e-mail address of an invited person, as in the latest mail of the invitation.

    The row stays after the invitation was accepted, was withdrawn or has expired. It is deleted when the person's data
    is erased.
    """

    __tablename__ = "invited_people"

    invitation_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    email: Mapped[str] = mapped_column(index=True)
    invited_at: Mapped[datetime]

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the invitation's last mail is at least `retention.INVITED_NAMES` (400 days) old."""
        return cls.invited_at <= now - retention.INVITED_NAMES


def note_name(session: Session, invitation_id: int, account_id: int, name: str, email: str, now: datetime) -> None:
    """Store the name and e-mail address of an invited person, and when the invitation was sent (`now`).

    For an invitation that has a row already, all three are replaced.
    """
    who = {"name": name, "email": email, "invited_at": now}
    new = postgresql.insert(InvitedPerson).values(invitation_id=invitation_id, account_id=account_id, **who)
    session.execute(new.on_conflict_do_update(index_elements=[InvitedPerson.invitation_id], set_=who))
