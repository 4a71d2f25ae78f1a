"""Names of invited people, for the audit log: its entries, which cannot be changed, contain an invitation's id only."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.db.base import Base


class InvitedPerson(Base):
    """The person whom an invitation has invited, with the name and the address of its latest mail.

    The row stays when the invitation is accepted, withdrawn or expired, and is deleted when the person is erased.
    """

    __tablename__ = "invited_people"

    invitation_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    email: Mapped[str] = mapped_column(index=True)
    invited_at: Mapped[datetime]

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the latest mail was at least `retention.INVITED_NAMES` (400 days) ago."""
        return cls.invited_at <= now - retention.INVITED_NAMES


def note_name(session: Session, invitation_id: int, account_id: int, name: str, email: str, now: datetime) -> None:
    """Store name and e-mail address of the person whom an invitation invites.

    A renewed invitation replaces both, and the time.
    """
    who = {"name": name, "email": email, "invited_at": now}
    new = postgresql.insert(InvitedPerson).values(invitation_id=invitation_id, account_id=account_id, **who)
    session.execute(new.on_conflict_do_update(index_elements=[InvitedPerson.invitation_id], set_=who))
